"""The pointsman command: one verb a function, heavy imports inside."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TypeAlias

from serve import __version__
from serve.config import Settings
from serve.errors import SettingsError, SetupError

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


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
    _parse_serving(verbs)
    _parse_learning(verbs)
    _parse_judging(verbs)
    return parser


def _parse_serving(verbs: Verbs) -> None:
    check = verbs.add_parser("check", help="check a settings file, its router and its models")
    check.add_argument("file", type=Path)
    check.set_defaults(verb=_check)

    promote = verbs.add_parser("promote", help="give a running application another router")
    promote.add_argument("artifact", type=Path)
    promote.add_argument(
        "--share",
        type=_share,
        metavar="0..1",
        help="as a challenger that decides this share of the requests, 0: that only watches",
    )
    promote.add_argument("--last", type=int, default=200, help="logged requests to replay; 0: none")
    promote.add_argument("--log", type=Path, help="request log; default: records.log")
    promote.add_argument("--dashboard", default="http://127.0.0.1:8265", help="Ray's")
    promote.add_argument("--dry-run", action="store_true", help="replay, change nothing")
    promote.set_defaults(verb=_promote)


def _parse_learning(verbs: Verbs) -> None:
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

    public = verbs.add_parser("import", help="turn a public benchmark's file into a routing table")
    public.add_argument("--format", required=True, metavar="NAME")
    public.add_argument("file", type=Path, help="its file or folder")
    public.add_argument("--out", type=Path, required=True, help="folder of the table")
    public.set_defaults(verb=_import)
    train = verbs.add_parser("train", help="train a router on a routing table")
    train.add_argument("--table", type=Path, required=True)
    train.add_argument("--router", default="default", help="name or name:key=value,...")
    train.add_argument("--experts", type=Path, help="a settings file, for its encoder")
    train.add_argument("--out", type=Path, required=True, help="folder of the artifact")
    train.add_argument(
        "--with-feedback", metavar="URL", help="learn from users' scores too: records.database"
    )
    train.add_argument(
        "--feedback-weight",
        type=_share,
        default=0.5,
        metavar="0..1",
        help="of a score against a measured answer; default: %(default)s",
    )
    train.set_defaults(verb=_train)


def _parse_judging(verbs: Verbs) -> None:
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
    evaluate.add_argument("--curve", action="store_true", help="print the deferral curves too")
    evaluate.add_argument("--out", type=Path, required=True, help="folder of the results")
    evaluate.set_defaults(verb=_evaluate)


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
    from serve.offline.train import Feedback, train

    settings = _settings(arguments.experts) if arguments.experts else None
    database = arguments.with_feedback
    feedback = Feedback(database, arguments.feedback_weight) if database else None
    train(arguments.table, arguments.router, settings, arguments.out, feedback)


def _promote(arguments: argparse.Namespace) -> None:
    from serve.config import parse_settings
    from serve.ray_token import send_token

    send_token()
    from serve.offline.replay import logged_queries, replay
    from serve.online.promote import Running, promoted, roll_out
    from serve.online.router import check_router, load_encoder, load_pipeline
    from serve.settings_file import application_of, rollout_of

    running = Running(arguments.dashboard)
    where = running.url
    settings = parse_settings(application_of(running.config, where)["args"], where)
    now = rollout_of(running.config, where)
    config, then = promoted(running.config, now, arguments.artifact, arguments.share)
    check_router(settings, then)
    log = arguments.log or (settings.records.log and Path(settings.records.log).expanduser())
    encoder = load_encoder(settings)
    other = load_pipeline(settings, str(arguments.artifact), encoder)
    if arguments.last and log:
        served = load_pipeline(settings, now.artifact or settings.router.artifact, encoder)
        print(replay(logged_queries(log, arguments.last), served, other))
    elif arguments.last:
        print("Nothing to replay: the application keeps no request log (records.log)")
    if arguments.dry_run:
        return
    seat = "router" if arguments.share is None else "challenger"
    for line in roll_out(running, config, lambda said: said[seat] == other.router):
        print(f"replica {line['replica']} serves {line['router']}, challenger {line['challenger']}")


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
        curves=arguments.curve,
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


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be in 0..1, got {number}")
    return number


def _settings(file: Path) -> Settings:
    from serve.settings_file import read_config, settings_of

    return settings_of(read_config(file), file)
