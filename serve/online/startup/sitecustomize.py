"""Python imports this first in every process of the application (serve/launch.py sees to that).

A start imports vLLM in eight processes, one after the other for each expert, and a sixth of such an
import is garbage collection that finds nothing. Collect a hundred times less often.
"""

import gc

gc.set_threshold(70_000, 20, 20)
