"""Ray protects a local cluster with a token, but its clients send it only where told to.

`ray.init` turns this on for the cluster it starts (Ray 2.60); `serve deploy`, `serve status` and
`pointsman promote`, run in another shell, would be refused.
"""

from __future__ import annotations

import os
from pathlib import Path


def send_token() -> None:
    """Have Ray's clients of this process send the token; before ray is imported.

    Nothing happens where the environment says RAY_AUTH_MODE itself, or no token is at hand.
    """
    kept = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if "RAY_AUTH_TOKEN" in os.environ or kept.is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
