"""Writes the serveConfigV2 of each overlay from its file in deployments/.

    make manifests

What a cluster changes in that file is a JSON patch (RFC 6902), in-cluster.yaml of the overlay; the
result is a patch too, serve-config.yaml, which kustomize applies to the RayService.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

ROOT = Path(__file__).parents[1]
SOURCES = {"cpu": "deployments/local.yaml", "gpu": "deployments/gpu.yaml"}


class _Block(str):
    """A text over several lines."""


yaml.SafeDumper.add_representer(
    _Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
)


def config(overlay: str) -> dict[str, Any]:
    """The Serve config of an overlay.

    Raises:
        jsonpatch.JsonPatchException, jsonpointer.JsonPointerException: the patch changes what the
            file does not have.
    """
    source = yaml.safe_load((ROOT / SOURCES[overlay]).read_text())
    changes = yaml.safe_load((ROOT / "k8s/overlays" / overlay / "in-cluster.yaml").read_text())
    # Through JSON, so that nothing is shared and the text has no anchors.
    plain = json.loads(json.dumps(source))
    return dict(jsonpatch.apply_patch(plain, json.loads(json.dumps(changes))))


def patch(overlay: str) -> str:
    """The text of serve-config.yaml."""
    text = yaml.safe_dump(config(overlay), sort_keys=False, width=100)
    operation = {"op": "replace", "path": "/spec/serveConfigV2", "value": _Block(text)}
    head = f"# From {SOURCES[overlay]} and in-cluster.yaml: `make manifests` writes this file.\n"
    return head + yaml.safe_dump([operation], sort_keys=False, width=100)


def main() -> None:
    """Write every overlay's."""
    for overlay in SOURCES:
        (ROOT / "k8s/overlays" / overlay / "serve-config.yaml").write_text(patch(overlay))


if __name__ == "__main__":
    main()
