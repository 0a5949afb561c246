"""promote: what a running application is told."""

from __future__ import annotations

import argparse
from pathlib import Path

from serve.config import Settings
from serve.errors import SettingsError
from serve.protocol import Query
from serve.verbs.options import Verbs, between, whole


def add(verbs: Verbs) -> None:
    """Its parser."""
    promote = verbs.add_parser("promote", help="give a running application another router")
    promote.add_argument("artifact", type=Path)
    promote.add_argument(
        "--share",
        type=between(0, 1),
        metavar="0..1",
        help="as a challenger that decides this share of the requests, 0: that only watches",
    )
    promote.add_argument(
        "--last", type=whole(0), default=200, help="logged requests to replay; 0: none"
    )
    promote.add_argument("--log", type=Path, help="request log; default: records.log")
    promote.add_argument("--dashboard", default="http://127.0.0.1:8265", help="Ray's")
    promote.add_argument("--dry-run", action="store_true", help="replay, change nothing")
    promote.set_defaults(verb=_promote)


def _promote(arguments: argparse.Namespace) -> None:
    from serve.ray_token import send_token

    send_token()
    from serve.config import parse_settings
    from serve.online.promote import Running, promoted, roll_out
    from serve.online.router import check_router, load_pipeline, load_pool
    from serve.settings_file import application_of, rollout_of

    running = Running(arguments.dashboard)
    where = running.url
    settings = parse_settings(application_of(running.config, where)["args"], where)
    now = rollout_of(running.config, where)
    then = promoted(now, arguments.artifact, arguments.share)
    check_router(settings, then)
    queries = _logged(arguments, settings)
    pool = load_pool(settings)
    other = load_pipeline(settings, str(arguments.artifact), pool)
    if queries:
        from serve.offline.replay import replay

        served = load_pipeline(settings, now.artifact or settings.router.artifact, pool)
        print(replay(queries, served, other))
    if arguments.dry_run:
        return
    seat = "router" if arguments.share is None else "challenger"
    for line in roll_out(running, now, then, lambda said: said[seat] == other.router):
        print(f"replica {line['replica']} serves {line['router']}, challenger {line['challenger']}")


def _logged(arguments: argparse.Namespace, settings: Settings) -> list[Query]:
    """What to replay; that the application keeps nothing to replay is told, and no mistake."""
    from serve.offline.replay import logged_queries

    if arguments.log and arguments.last:
        return logged_queries(arguments.log, arguments.last)
    try:
        if arguments.last and settings.records.log:
            log = Path(settings.records.log).expanduser()
            return logged_queries(log, arguments.last)
        why = "the application keeps no request log (records.log)"
    except SettingsError as error:
        why = str(error)
    if arguments.last:
        print(f"Nothing to replay: {why}")
    return []
