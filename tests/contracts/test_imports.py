"""The import law of the house: arrows between the rooms go one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVE = ROOT / "serve"
HEAVY = {"ray", "vllm", "torch", "transformers", "fastapi", "pandas"}
FORBIDDEN = {
    "routing": HEAVY | {"serve.online", "serve.offline", "serve.encoding"},
    "encoding": {"ray", "vllm", "fastapi", "serve.online", "serve.offline", "serve.routing"},
    "online": {"serve.offline"},
    "offline": {"ray", "vllm", "serve.online"},
    "dashboards": HEAVY
    | {f"serve.{room}" for room in ("online", "offline", "routing", "encoding")},
    "explain": HEAVY | {"serve.online", "serve.offline", "serve.encoding"},
    "sizing": HEAVY | {"serve.online", "serve.offline"},
}
FILES = sorted(SERVE.rglob("*.py"))


def imported(file: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(file):
    forbidden = FORBIDDEN.get(file.relative_to(SERVE).parts[0], set())
    for name in imported(file):
        assert not any(name == word or name.startswith(f"{word}.") for word in forbidden), name


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_serve_is_never_imported_as_a_plain_name(file):
    """`import serve.x` after `from ray import serve` rebinds Ray's name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "serve" for alias in node.names)


def test_ray_private_modules_are_imported_in_two_files_only():
    private = {
        file.name
        for file in FILES
        for name in imported(file)
        if name.startswith("ray.") and "._" in name
    }
    assert private == {"serve_llm.py", "ray_node.py"}


def test_the_composition_root_keeps_real_annotations():
    """Ray reads build's and FastAPI the handlers' annotations as objects, not strings."""
    for name in ("app.py", "online/ingress.py"):
        assert "__future__" not in imported(SERVE / name)


def test_routing_loads_nothing_heavy():
    modules = [f"serve.routing.{f.stem}" for f in (SERVE / "routing").glob("[a-z]*.py")]
    code = f"import sys, {', '.join(modules)}; print(sorted({HEAVY!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]", answer.stdout + answer.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_files_and_functions_stay_short(file):
    text = file.read_text()
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
