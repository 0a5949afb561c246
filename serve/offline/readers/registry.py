"""The readers of public routing benchmarks, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serve.offline.readers import embedllm, llmrouter, routellm, routerbench
from serve.offline.table import RoutingTable

READERS: dict[str, Callable[[Path], RoutingTable]] = {
    "embedllm": embedllm.read,
    "llmrouter": llmrouter.read,
    "routellm": routellm.read,
    "routerbench": routerbench.read,
}
