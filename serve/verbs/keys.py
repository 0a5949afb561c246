"""key: an API key, and what the settings hold of it."""

from __future__ import annotations

import argparse
import sys

from serve.verbs.options import Verbs


def add(verbs: Verbs) -> None:
    """Its parser."""
    key = verbs.add_parser("key", help="make an API key and its entry for the settings")
    key.add_argument("name", help="whose: shown in logs, metrics and usage")
    key.add_argument("--admin", action="store_true", help="may read /metrics and all usage")
    key.set_defaults(verb=_key)


def _key(arguments: argparse.Namespace) -> None:
    import yaml

    from serve import keys
    from serve.config import AccessSettings, parse

    made = keys.make()
    entry: dict[str, object] = {"name": arguments.name, "sha256": keys.hashed(made.encode())}
    if arguments.admin:
        entry["admin"] = True
    parse(AccessSettings, {"keys": [entry]}, "key")
    # The key alone on stdout: it can be piped to where it is kept.
    print("The key, shown this once:", file=sys.stderr)
    print(made, flush=True)
    print("Its entry under access.keys, or in access.file:", file=sys.stderr)
    print(yaml.safe_dump([entry], sort_keys=False), end="", file=sys.stderr)
