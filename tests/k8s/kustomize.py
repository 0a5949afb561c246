"""What `kubectl kustomize` prints, for the part of kustomize that k8s/ uses and no more.

So that manifests are validated on machines without kubectl; where there is one, test_kustomize.py
holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

Document = dict[str, Any]
KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "patches"}


def build(folder: Path) -> list[Document]:
    """The documents of a kustomization.

    Raises:
        ValueError: it uses what is not understood here, or a patch has no target.
    """
    kustomization = _read((folder / "kustomization.yaml").read_text())
    if unknown := set(kustomization) - KNOWN:
        raise ValueError(f"{folder}: not understood here: {sorted(unknown)}")
    documents = [d for name in kustomization["resources"] for d in _resource(folder / name)]
    for patch in kustomization.get("patches", []):
        _patch(documents, _read((folder / patch["path"]).read_text()), patch["target"])
    for image in kustomization.get("images", []):
        for document in documents:
            _rename_image(document, image)
    for document in documents:
        if document["kind"] != "Namespace":
            document["metadata"]["namespace"] = kustomization["namespace"]
    return documents


def _resource(path: Path) -> Iterator[Document]:
    if path.is_dir():
        yield from build(path)
    else:
        # Without aliases, whose parts a patch would change in all places at once.
        for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader):
            yield _copied(document)


def _read(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _patch(documents: list[Document], operations: list[Any], target: dict[str, str]) -> None:
    found = [
        i
        for i, document in enumerate(documents)
        if (document["kind"], document["metadata"]["name"]) == (target["kind"], target["name"])
    ]
    if not found:
        raise ValueError(f"a patch for {target} finds nothing")
    for i in found:
        documents[i] = jsonpatch.apply_patch(documents[i], _copied(operations))


def _rename_image(value: Any, image: dict[str, str]) -> None:
    if isinstance(value, dict):
        for name in ("containers", "initContainers"):
            for container in value.get(name, []):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
        for item in value.values():
            _rename_image(item, image)
    elif isinstance(value, list):
        for item in value:
            _rename_image(item, image)
