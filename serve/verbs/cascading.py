"""calibrate: when a cheap expert's answer is good enough."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from serve.verbs.options import Verbs, between, settings_in, whole

SIGNALS = ("mean_logprob", "min_logprob", "margin", "predicted_quality")
"""Those of routing/cascade.py, without its imports."""


def add(verbs: Verbs) -> None:
    """Its parser."""
    calibrate = verbs.add_parser(
        "calibrate", help="choose the thresholds of a cascade, and say whether it pays"
    )
    calibrate.add_argument("--table", type=Path, required=True)
    calibrate.add_argument(
        "--tiers",
        action="append",
        required=True,
        metavar="A,B[,C]",
        help="experts, cheap to dear; several times: the cascades side by side",
    )
    calibrate.add_argument("--signal", choices=SIGNALS, help="of certainty, for the settings")
    calibrate.add_argument(
        "--cells", metavar="NAME", help="the table's cells that hold it; default: the signal's own"
    )
    calibrate.add_argument("--artifact", type=Path, help="a router, for predicted_quality")
    calibrate.add_argument("--experts", type=Path, help="a settings file, for that router")
    goal = calibrate.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--share", type=between(0, 1), metavar="0..1", help="of a tier's answers it may pass on"
    )
    goal.add_argument(
        "--quality", type=between(0, 1), metavar="0..1", help="to be reached at the least cost"
    )
    goal.add_argument("--usd-per-answer", dest="usd", type=float, help="to be spent at most")
    calibrate.add_argument("--seeds", type=whole(1), default=5)
    calibrate.add_argument(
        "--anyway", action="store_true", help="print the section even where it does not pay"
    )
    calibrate.set_defaults(verb=_calibrate)


def _calibrate(arguments: argparse.Namespace) -> None:
    from serve.config import RouterSettings
    from serve.offline.cascading.calibrate import Goal, Kind, calibrate
    from serve.offline.cascading.report import comparison, report, section
    from serve.offline.cascading.source import Source

    source = Source(
        arguments.signal,
        arguments.cells,
        arguments.artifact,
        settings_in(arguments.experts).router if arguments.experts else RouterSettings(),
    )
    kinds = [kind for kind in get_args(Kind) if getattr(arguments, kind) is not None]
    goal = Goal(kinds[0], getattr(arguments, kinds[0]))
    found = [
        calibrate(arguments.table, tiers.split(","), source, goal, arguments.seeds)
        for tiers in arguments.tiers
    ]
    if len(found) > 1:
        print(comparison(found))
        return
    print(report(found[0]))
    if not (found[0].pays or arguments.anyway):
        print("No settings are printed: leave the cascade out, or ask again with --anyway.")
        sys.exit(1)
    if source.signal is None:
        print("No settings are printed: name the --signal that these cells hold.")
        return
    print(f"\n{section(found[0])}", end="")
