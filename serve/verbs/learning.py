"""prepare, import and train: from prompts to a router."""

from __future__ import annotations

import argparse
from pathlib import Path

from serve.errors import SettingsError
from serve.verbs.options import QUALITIES, Verbs, between, settings_in, whole


def add(verbs: Verbs) -> None:
    """Their parsers."""
    _add_prepare(verbs)

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
        "--probes",
        type=whole(0),
        default=400,
        help="training prompts it carries so that its pool can change; 0: none (default: 400)",
    )
    train.add_argument(
        "--with-feedback", metavar="URL", help="learn from users' scores too: records.database"
    )
    train.add_argument(
        "--feedback-weight",
        type=between(0, 1),
        default=0.5,
        metavar="0..1",
        help="of a score against a measured answer (default: 0.5)",
    )
    train.set_defaults(verb=_train)


def _add_prepare(verbs: Verbs) -> None:
    prepare = verbs.add_parser(
        "prepare", help="ask every expert every prompt; write a routing table"
    )
    asked = prepare.add_mutually_exclusive_group(required=True)
    asked.add_argument("--prompts", type=Path, metavar="FILE", help="JSONL, see the README")
    asked.add_argument(
        "--from-log", type=Path, nargs="+", metavar="FILE", help="the gateway's request log"
    )
    prepare.add_argument("--experts", type=Path, required=True, help="a settings file")
    prepare.add_argument("--out", type=Path, required=True, help="folder of the table")
    prepare.add_argument(
        "--url", help="of an endpoint that serves them, with /v1; default: start them for this"
    )
    prepare.add_argument("--engine", choices=["http", "ray-data"], default="http")
    prepare.add_argument("--quality", choices=QUALITIES, default="bertsim")
    prepare.add_argument(
        "--reference", metavar="EXPERT", help="its answer, where a prompt has no reference"
    )
    prepare.add_argument(
        "--limit", type=whole(1), metavar="N", help="so many prompts, evenly over the file"
    )
    prepare.add_argument(
        "--concurrency", type=whole(1), default=16, help="requests at once, for each expert"
    )
    prepare.add_argument("--max-tokens", type=whole(1), default=96, help="of an answer")
    prepare.add_argument("--timeout", type=float, default=120, help="seconds of one try")
    prepare.add_argument("--tries", type=whole(1), default=4)
    prepare.add_argument(
        "--no-likelihood",
        dest="likelihood",
        action="store_false",
        help="do not ask for the log-likelihood of the reference",
    )
    prepare.add_argument(
        "--certainty",
        action="store_true",
        help="keep how certain each answer is, for calibrate: asks for its log-probabilities",
    )
    prepare.set_defaults(verb=_prepare)


def _import(arguments: argparse.Namespace) -> None:
    from serve.offline.readers.registry import READERS

    if arguments.format not in READERS:
        raise SettingsError(
            f"--format {arguments.format!r} is unknown; known: {', '.join(READERS)}"
        )
    table = READERS[arguments.format](arguments.file)
    table.save(arguments.out)
    print(f"{arguments.out}: {len(table.prompts)} prompts, {len(table.experts)} experts")


def _train(arguments: argparse.Namespace) -> None:
    from serve.offline.train import Feedback, train

    database = arguments.with_feedback
    train(
        arguments.table,
        arguments.router,
        settings_in(arguments.experts) if arguments.experts else None,
        arguments.out,
        probes=arguments.probes,
        feedback=Feedback(database, arguments.feedback_weight) if database else None,
    )


def _prepare(arguments: argparse.Namespace) -> None:
    from serve.engines import on_ray_data, over_http
    from serve.offline.asking.ask import Limits
    from serve.offline.asking.logged import read_logged
    from serve.offline.asking.prepare import prepare
    from serve.offline.asking.prompts import evenly, read_prompts

    if arguments.engine == "ray-data" and arguments.url:
        raise SettingsError("--url: --engine ray-data starts the experts itself; leave out one")
    if arguments.engine == "ray-data" and arguments.certainty:
        raise SettingsError("--certainty: --engine ray-data keeps none; leave out one")
    settings = settings_in(arguments.experts)
    files = arguments.from_log or [arguments.prompts]
    prompts = read_logged(files) if arguments.from_log else read_prompts(arguments.prompts)
    over = over_http(arguments.experts, arguments.url)
    prepare(
        evenly(prompts, arguments.limit) if arguments.limit else prompts,
        settings,
        arguments.out,
        over if arguments.engine == "http" else on_ray_data(settings),
        limits=Limits(
            concurrency=arguments.concurrency,
            max_tokens=arguments.max_tokens,
            timeout_s=arguments.timeout,
            tries=arguments.tries,
            likelihood=arguments.likelihood,
            certainty=arguments.certainty,
        ),
        quality=arguments.quality,
        reference=arguments.reference,
        source=", ".join(map(str, files)),
    )
