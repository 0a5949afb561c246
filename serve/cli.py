"""The pointsman command; its verbs are in serve/verbs, heavy imports inside each."""

from __future__ import annotations

import argparse
import sys

from serve import __version__
from serve.errors import SetupError
from serve.verbs import (
    cascading,
    checking,
    dashboards,
    explaining,
    judging,
    keys,
    learning,
    pool,
    serving,
)


def main() -> None:
    """Entry point; a SetupError is one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="pointsman", description="Prepare, train, judge and promote routers over LLMs."
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for group in (
        checking,
        serving,
        dashboards,
        explaining,
        keys,
        learning,
        pool,
        judging,
        cascading,
    ):
        group.add(verbs)
    arguments = parser.parse_args()
    try:
        arguments.verb(arguments)
    except SetupError as error:
        print(f"pointsman: {error}", file=sys.stderr)
        sys.exit(2)
