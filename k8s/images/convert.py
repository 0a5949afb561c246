"""While an image is built: its models are made ready, as `serve run` does at its first start.

python convert.py deployments/local.yaml
"""

from __future__ import annotations

import sys
from pathlib import Path

from serve import weights
from serve.settings_file import read_config, settings_of


def main() -> None:
    """Every expert's model that runs here; where each is, a line each."""
    file = Path(sys.argv[1])
    for expert in settings_of(read_config(file), file).experts:
        if expert.model is not None:
            print(f"{expert.id}: {weights.resolve(expert.here)}", flush=True)


if __name__ == "__main__":
    main()
