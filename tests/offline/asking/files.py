"""A prompt file and a settings file whose experts are models of the fake endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.fake_endpoint import answer


def settings_file(folder: Path, *experts: str) -> Path:
    file = folder / "experts.yaml"
    pool = [
        {"id": name, "model": f"made/{name}", "price": {"input": 1.0, "output": 2.0}}
        for name in experts
    ]
    application = {"name": "pointsman", "import_path": "serve.app:build"}
    arguments = {"experts": pool, "router": {"artifact": "none"}}
    file.write_text(yaml.safe_dump({"applications": [application | {"args": arguments}]}))
    return file


def prompts_file(folder: Path, count: int, **keys: object) -> Path:
    """`count` prompts; the fake expert `good` answers the even ones as their references say."""
    file = folder / "prompts.jsonl"
    lines = [
        {
            "id": f"p{i}",
            "prompt": f"What is {i}?",
            "reference": answer("good" if i % 2 == 0 else "other", f"What is {i}?"),
            **keys,
        }
        for i in range(count)
    ]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return file
