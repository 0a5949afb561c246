"""score and evaluate: what a router is worth on prompts it has not seen."""

from __future__ import annotations

import argparse
from pathlib import Path

from serve.verbs.options import Verbs, settings_in, whole


def add(verbs: Verbs) -> None:
    """Their parsers."""
    score = verbs.add_parser("score", help="a settings file's router on its table's test split")
    score.add_argument("--table", type=Path, required=True)
    score.add_argument("--experts", type=Path, required=True, help="a settings file")
    score.set_defaults(verb=_score)

    evaluate = verbs.add_parser("evaluate", help="judge routers on routing tables, over seeds")
    evaluate.add_argument("--table", type=Path, action="append", required=True, metavar="DIR")
    evaluate.add_argument("--router", action="append", metavar="NAME", help="default: default")
    evaluate.add_argument("--seeds", type=whole(1), default=5)
    evaluate.add_argument("--protocol", action="append", choices=["prompts", "unseen-experts"])
    evaluate.add_argument(
        "--without", action="append", default=[], metavar="EXPERT", help="leave it out of the pool"
    )
    evaluate.add_argument(
        "--encoder", default="default", metavar="NAME", help="or a model directory, to compare"
    )
    evaluate.add_argument("--curve", action="store_true", help="print the deferral curves too")
    evaluate.add_argument("--out", type=Path, required=True, help="folder of the results")
    evaluate.set_defaults(verb=_evaluate)


def _score(arguments: argparse.Namespace) -> None:
    from serve.offline.score import score

    print(score(arguments.table, settings_in(arguments.experts)))


def _evaluate(arguments: argparse.Namespace) -> None:
    from serve.offline.encoders import check_encoder, reading
    from serve.offline.evaluate import evaluate

    check_encoder(arguments.encoder)
    report = evaluate(
        arguments.table,
        arguments.router or ["default"],
        arguments.protocol or ["prompts"],
        seeds=arguments.seeds,
        without=arguments.without,
        curves=arguments.curve,
        out=arguments.out,
        read=lambda: reading(arguments.encoder),
    )
    print(report)
