"""explain: why one request went where it did."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from serve.errors import SettingsError, SetupError
from serve.verbs.options import Verbs, settings_in

LOCAL = Path("deployments/local.yaml")


def add(verbs: Verbs) -> None:
    """Its parser."""
    explain = verbs.add_parser(
        "explain",
        help="tell why one request went where it did, and what would have changed it",
        description="Tell the story of one request from the request log: what it asked, every "
        "expert with every term of its rank, who was asked and what it cost, and the least change "
        "that would have put another expert first. With several of the same id, of the last.",
    )
    explain.add_argument("request_id", help="x-request-id of its answer")
    where = explain.add_mutually_exclusive_group()
    where.add_argument("--log", type=Path, help="the request log; default: of --experts")
    where.add_argument(
        "--experts", type=Path, default=LOCAL, help=f"a settings file; default: {LOCAL}"
    )
    explain.add_argument("--json", action="store_true", help="for a machine, with the record")
    explain.set_defaults(verb=_explain)


def _explain(arguments: argparse.Namespace) -> None:
    from serve.explain.facts import as_json
    from serve.explain.words import text
    from serve.request_log import find

    log = arguments.log or _log_of(arguments.experts)
    record = find(log, arguments.request_id)
    if record is None:
        with log.open("rb") as lines:
            count = sum(1 for _ in lines)
        raise SetupError(
            f"{log}: no request {arguments.request_id} in its {count} lines; a request is in the "
            "log once it is over"
        )
    print(json.dumps(as_json(record), indent=2) if arguments.json else text(record))


def _log_of(file: Path) -> Path:
    log = settings_in(file).records.log
    if log is None:
        raise SettingsError(f"{file}: records.log is not set, so no request is kept; or name --log")
    return Path(log).expanduser()
