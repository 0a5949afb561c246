"""The names of vLLM's engine arguments, and a settings file held against them."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from serve.config import ExpertSettings
from serve.errors import SettingsError

_WRITTEN_IN = {
    "engine/arg_utils.py": ("EngineArgs", "AsyncEngineArgs"),
    "entrypoints/launchers/cli_args.py": ("BaseFrontendArgs", "FrontendArgs"),
}


def require_known(expert: ExpertSettings, known: Collection[str]) -> None:
    """Check that vLLM has the expert's engine arguments.

    Raises:
        SettingsError: it has not; with the names that are near.
    """
    for name in expert.engine:
        if name not in known:
            near = get_close_matches(name, known, n=3)
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise SettingsError(f"experts.{expert.id}.engine.{name}: vLLM has no such{hint}")


def written() -> set[str] | None:
    """The fields of vLLM's argument classes as its source says; None: it is not installed, or its
    classes are elsewhere.

    Read, for a check that takes a second: importing them is ten seconds of work.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        return None
    root, names = Path(spec.submodule_search_locations[0]), set()
    for file, classes in _WRITTEN_IN.items():
        if not (root / file).is_file():
            return None
        for node in ast.parse((root / file).read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name in classes:
                fields = [line.target for line in node.body if isinstance(line, ast.AnnAssign)]
                names |= {target.id for target in fields if isinstance(target, ast.Name)}
    return names or None
