"""onboard and retire: the two that change a router's pool without training it."""

from __future__ import annotations

import argparse
from pathlib import Path

from serve.verbs.options import QUALITIES, Verbs, between, settings_in, whole


def add(verbs: Verbs) -> None:
    """Their parsers."""
    onboard = verbs.add_parser("onboard", help="add an expert to a router, nothing trained again")
    onboard.add_argument("--expert", type=Path, required=True, metavar="FILE", help="one expert")
    onboard.add_argument("--artifact", type=Path, required=True, help="folder of the router")
    onboard.add_argument("--out", type=Path, required=True, help="folder of the new artifact")
    onboard.add_argument("--probe", type=whole(1), default=200, help="prompts to ask it")
    onboard.add_argument(
        "--url", help="of an endpoint that serves it, with /v1; default: start it for this"
    )
    onboard.add_argument("--grader", choices=QUALITIES, help="default: the table's")
    onboard.add_argument("--experts", type=Path, help="a settings file, for lambda and encoder")
    onboard.add_argument("--lambda", dest="lam", type=float, help="at which change is reported")
    _add_confidence(onboard)
    onboard.add_argument("--concurrency", type=whole(1), default=16)
    onboard.add_argument("--max-tokens", type=whole(1), help="default: the training table's")
    onboard.set_defaults(verb=_onboard)

    retire = verbs.add_parser("retire", help="take an expert out of a router, likewise")
    retire.add_argument("expert", metavar="ID")
    retire.add_argument("--artifact", type=Path, required=True, help="folder of the router")
    retire.add_argument("--out", type=Path, required=True, help="folder of the new artifact")
    _add_confidence(retire)
    retire.set_defaults(verb=_retire)


def _add_confidence(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--confidence",
        type=between(0.5, 0.99),
        default=0.5,
        help="at which the probes must vouch for the change, or the guard decides: 0.5 (the "
        "default: the best estimate) to 0.99",
    )


def _onboard(arguments: argparse.Namespace) -> None:
    from serve.config import RouterSettings
    from serve.engines import served_expert
    from serve.offline.pool.onboard import Asking, onboard

    router = settings_in(arguments.experts).router if arguments.experts else RouterSettings()
    asking = Asking(
        served_expert(arguments.expert, arguments.url),
        probes=arguments.probe,
        grader=arguments.grader,
        encoder=router.encoder,
        concurrency=arguments.concurrency,
        max_tokens=arguments.max_tokens,
        confidence=arguments.confidence,
    )
    lam = router.lam if arguments.lam is None else arguments.lam
    print(onboard(arguments.expert, arguments.artifact, arguments.out, asking, lam=lam), end="")


def _retire(arguments: argparse.Namespace) -> None:
    from serve.offline.pool.retire import retire

    print(retire(arguments.expert, arguments.artifact, arguments.out, arguments.confidence))
