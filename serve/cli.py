"""The pointsman command: one verb a function, heavy imports inside."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from serve import __version__
from serve.config import RouterSettings, Settings
from serve.errors import SettingsError, SetupError

if TYPE_CHECKING:
    _Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]


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

    train = verbs.add_parser("train", help="train a router on a routing table")
    train.add_argument("--table", type=Path, required=True)
    train.add_argument("--router", default="default", help="name or name:key=value,...")
    train.add_argument("--experts", type=Path, help="a settings file, for its encoder")
    train.add_argument("--out", type=Path, required=True, help="folder of the artifact")
    train.add_argument(
        "--probes",
        type=_not_negative,
        default=400,
        help="training prompts it carries so that its pool can change; 0: none (default: 400)",
    )
    train.set_defaults(verb=_train)

    _add_pool_verbs(verbs)

    score = verbs.add_parser("score", help="a settings file's router on its table's test split")
    score.add_argument("--table", type=Path, required=True)
    score.add_argument("--experts", type=Path, required=True, help="a settings file")
    score.set_defaults(verb=_score)

    evaluate = verbs.add_parser("evaluate", help="judge routers on routing tables, over seeds")
    evaluate.add_argument("--table", type=Path, action="append", required=True, metavar="DIR")
    evaluate.add_argument("--router", action="append", metavar="NAME", help="default: default")
    evaluate.add_argument("--seeds", type=_positive, default=5)
    evaluate.add_argument("--protocol", action="append", choices=["prompts", "unseen-experts"])
    evaluate.add_argument(
        "--without", action="append", default=[], metavar="EXPERT", help="leave it out of the pool"
    )
    evaluate.add_argument(
        "--encoder", default="default", metavar="NAME", help="or a model directory, to compare"
    )
    evaluate.add_argument("--out", type=Path, required=True, help="folder of the results")
    evaluate.set_defaults(verb=_evaluate)

    public = verbs.add_parser("import", help="turn a public benchmark's file into a routing table")
    public.add_argument("--format", required=True, metavar="NAME")
    public.add_argument("file", type=Path, help="its file or folder")
    public.add_argument("--out", type=Path, required=True, help="folder of the table")
    public.set_defaults(verb=_import)
    return parser


def _add_pool_verbs(verbs: _Verbs) -> None:
    """The two that change a router's pool without training it."""
    onboard = verbs.add_parser("onboard", help="add an expert to a router, nothing trained again")
    onboard.add_argument("--expert", type=Path, required=True, metavar="FILE", help="one expert")
    onboard.add_argument("--artifact", type=Path, required=True, help="folder of the router")
    onboard.add_argument("--out", type=Path, required=True, help="folder of the new artifact")
    onboard.add_argument("--probe", type=_positive, default=200, help="prompts to ask it")
    onboard.add_argument("--url", help="of an endpoint that serves it, with /v1")
    onboard.add_argument("--grader", metavar="NAME", help="default: the training table's")
    onboard.add_argument("--experts", type=Path, help="a settings file, for lambda and encoder")
    onboard.add_argument("--lambda", dest="lam", type=float, help="at which change is reported")
    onboard.add_argument("--concurrency", type=_positive, default=16)
    onboard.add_argument("--max-tokens", type=_positive, help="default: the training table's")
    onboard.set_defaults(verb=_onboard)

    retire = verbs.add_parser("retire", help="take an expert out of a router, likewise")
    retire.add_argument("expert", metavar="ID")
    retire.add_argument("--artifact", type=Path, required=True, help="folder of the router")
    retire.add_argument("--out", type=Path, required=True, help="folder of the new artifact")
    retire.set_defaults(verb=_retire)


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

    settings = _settings(arguments.experts) if arguments.experts else None
    train(arguments.table, arguments.router, settings, arguments.out, probes=arguments.probes)


def _onboard(arguments: argparse.Namespace) -> None:
    from serve.offline.onboard import Asking, onboard

    router = _settings(arguments.experts).router if arguments.experts else RouterSettings()
    asking = Asking(
        arguments.url,
        probes=arguments.probe,
        grader=arguments.grader,
        encoder=router.encoder,
        concurrency=arguments.concurrency,
        max_tokens=arguments.max_tokens,
    )
    lam = router.lam if arguments.lam is None else arguments.lam
    print(onboard(arguments.expert, arguments.artifact, arguments.out, asking, lam=lam), end="")


def _retire(arguments: argparse.Namespace) -> None:
    from serve.offline.retire import retire

    print(retire(arguments.expert, arguments.artifact, arguments.out))


def _score(arguments: argparse.Namespace) -> None:
    from serve.offline.score import score

    print(score(arguments.table, _settings(arguments.experts)))


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
        out=arguments.out,
        read=lambda: reading(arguments.encoder),
    )
    print(report)


def _import(arguments: argparse.Namespace) -> None:
    from serve.offline.readers.registry import READERS

    if arguments.format not in READERS:
        raise SettingsError(
            f"--format {arguments.format!r} is unknown; known: {', '.join(READERS)}"
        )
    table = READERS[arguments.format](arguments.file)
    table.save(arguments.out)
    print(f"{arguments.out}: {len(table.prompts)} prompts, {len(table.experts)} experts")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {number}")
    return number


def _settings(file: Path) -> Settings:
    from serve.settings_file import read_config, settings_of

    return settings_of(read_config(file), file)
