"""Locust users at an OpenAI-compatible endpoint, and a verdict against objectives.

    .venv/bin/python -m loadtest.load                        # make serve's application
    .venv/bin/python -m loadtest.load --shape spike --levels 2,12 --minutes 3
    LOADTEST_API_KEY=... .venv/bin/python -m loadtest.load --anywhere --url URL/v1 --model NAME

Without --url it loads http://127.0.0.1:8000/v1, and where nothing answers there, an application of
its own from deployments/local.yaml. Users are closed-loop: each waits for its answer before it asks
again. Prints Markdown tables and writes report.html, locust.html, results.json and samples.jsonl.
Exit status 1 where an objective is missed, 2 where there is something to mend first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.report import measures, objectives, page, samples
from loadtest.running import running
from loadtest.users import options
from loadtest.users.schedule import Stage, plan
from loadtest.users.workload import Workload
from serve.errors import SetupError

SETTINGS = Path("deployments/local.yaml")
URL = "http://127.0.0.1:8000/v1"
LOCUSTFILE = Path(__file__).with_name("users") / "locustfile.py"
LAST_ANSWERS_S = 30
"""Users may finish what they have begun for so long; what takes longer is an error."""


def main() -> None:
    """Entry point; a SetupError is one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--url",
        default=os.environ.get("LOADTEST_URL"),
        help=f"of the endpoint, with /v1 (variable LOADTEST_URL; default {URL}); "
        "its key is in the variable LOADTEST_API_KEY",
    )
    options.add(parser)
    try:
        sys.exit(_load(parser.parse_args()))
    except SetupError as error:
        print(f"loadtest.load: {error}", file=sys.stderr)
        sys.exit(2)


def _load(asked: argparse.Namespace) -> int:
    options.check_url(asked.url or URL, asked.anywhere)
    wanted = objectives.read(asked.objectives)
    stages = plan(asked.shape, asked.levels, 60 * asked.minutes)
    Workload.read(asked.prompts, asked.lengths)
    with _endpoint(asked.url) as url:
        users = " -> ".join(str(stage.users) for stage in stages)
        print(f"{stages[-1].end_s:.0f} s of load on {url}: {users} users", flush=True)
        _locust(url, asked)
    taken = samples.read(asked.out / "samples.jsonl")
    measured = measures.measure(taken, wanted.slo)
    verdicts = objectives.judge(wanted.objectives, measured)
    shown = page.tables(taken, stages, verdicts, measured)
    print(f"\n{page.markdown(shown)}\n")
    missed = [verdict.name for verdict in verdicts if not verdict.met]
    results = _results(url, asked, stages, taken, measured, verdicts)
    (asked.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    title = f"Load on {url}, model {asked.model}"
    (asked.out / "report.html").write_text(page.page(title, shown, "locust.html"))
    print(f"missed: {', '.join(missed)}" if missed else f"all {len(verdicts)} objectives are met")
    print(f"report: {asked.out / 'report.html'}")
    return 1 if missed else 0


@contextmanager
def _endpoint(url: str | None) -> Iterator[str]:
    """The URL to load: of what answers, or of an application of its own until the block ends."""
    if _answers(url or URL):
        yield url or URL
        return
    if url is not None:
        raise SetupError(f"nothing answers at {url}/models: start it, or leave --url out")
    print(f"nothing answers at {URL}: starting {SETTINGS}, about 2 minutes", flush=True)
    # No records: made-up traffic is nothing to learn from.
    with running(SETTINGS, lambda args: args.pop("records", None)) as (base, _):
        yield f"{base}/v1"


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/models", timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _locust(url: str, asked: argparse.Namespace) -> None:
    """Run it in a process of its own, which gevent may patch, with its log in a file.

    Raises:
        SetupError: it did not run to its end.
    """
    asked.out.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("--loglevel", "WARNING"),
        *("--host", url, "--stop-timeout", str(LAST_ANSWERS_S), "--exit-code-on-error", "0"),
        *("--html", str(asked.out / "locust.html"), *options.command_line(asked)),
    ]
    log = asked.out / "locust.log"
    with log.open("w") as file:
        ended = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    if ended.returncode:
        raise SetupError(f"Locust ended with status {ended.returncode}: see {log}")


def _results(
    url: str,
    asked: argparse.Namespace,
    stages: Sequence[Stage],
    taken: Sequence[samples.Sample],
    measured: dict[str, float | None],
    verdicts: Sequence[objectives.Verdict],
) -> dict[str, Any]:
    whole = [sample for sample in taken if sample.error is None]
    return {
        "command": ["python", "-m", "loadtest.load", *options.command_line(asked)],
        "url": url,
        "cpus": os.cpu_count(),
        "stages": [asdict(stage) for stage in stages],
        "requests": len(taken),
        "answers": len(whole),
        "wall_s": measures.wall_s(taken),
        "measured": measured,
        "share": measures.shares(whole),
        "objectives": [{**asdict(verdict), "met": verdict.met} for verdict in verdicts],
    }


if __name__ == "__main__":
    main()
