"""The pointsman command: one verb a function, heavy imports inside."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from serve import __version__
from serve.config import Settings
from serve.errors import SetupError


def main() -> None:
    """Entry point; a SetupError is one line and exit status 2."""
    arguments = _parser().parse_args()
    try:
        arguments.verb(arguments)
    except SetupError as error:
        print(f"pointsman: {error}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pointsman", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    check = verbs.add_parser("check", help="check a settings file, its router and its models")
    check.add_argument("file", type=Path)
    check.set_defaults(verb=_check)

    prepare = verbs.add_parser(
        "prepare", help="ask every expert every prompt; write a routing table"
    )
    prepare.add_argument("--prompts", type=Path, required=True, help="JSONL, see the README")
    prepare.add_argument("--experts", type=Path, required=True, help="a settings file")
    prepare.add_argument("--out", type=Path, required=True, help="folder of the table")
    prepare.add_argument("--url", required=True, help="of the running application, with /v1")
    prepare.add_argument("--concurrency", type=int, default=16)
    prepare.add_argument("--max-tokens", type=int, default=96)
    prepare.set_defaults(verb=_prepare)

    train = verbs.add_parser("train", help="train a router on a table's train split")
    train.add_argument("--table", type=Path, required=True)
    train.add_argument("--experts", type=Path, required=True, help="a settings file")
    train.add_argument("--out", type=Path, required=True, help="folder of the artifact")
    train.set_defaults(verb=_train)

    evaluate = verbs.add_parser(
        "evaluate", help="a router against every constant, on the test split"
    )
    evaluate.add_argument("--table", type=Path, required=True)
    evaluate.add_argument("--experts", type=Path, required=True, help="a settings file")
    evaluate.set_defaults(verb=_evaluate)
    return parser


def _check(arguments: argparse.Namespace) -> None:
    from serve import weights
    from serve.settings_file import check, read_config

    settings = check(read_config(arguments.file), arguments.file)
    for expert in settings.experts:
        print(f"{expert.id}: {weights.resolve(expert.model)}")
    print(f"{arguments.file}: in order")


def _prepare(arguments: argparse.Namespace) -> None:
    from serve.offline.prepare import prepare

    prepare(
        arguments.prompts,
        _settings(arguments.experts),
        arguments.out,
        url=arguments.url,
        concurrency=arguments.concurrency,
        max_tokens=arguments.max_tokens,
    )


def _train(arguments: argparse.Namespace) -> None:
    from serve.offline.train import train

    train(arguments.table, _settings(arguments.experts), arguments.out)


def _evaluate(arguments: argparse.Namespace) -> None:
    from serve.offline.evaluate import evaluate

    print(evaluate(arguments.table, _settings(arguments.experts)))


def _settings(file: Path) -> Settings:
    from serve.settings_file import read_config, settings_of

    return settings_of(read_config(file), file)
