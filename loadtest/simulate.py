"""What the scaling policy is worth: the same policy function, against Ray Serve's default.

    make simulate    # about 5 minutes on one core; two tables, and loadtest/scaling/frontier.svg

Experts of unequal load meet bursty, diurnal and flash-crowd traffic (loadtest/scaling/traces.py).
Their engines are discrete events (loadtest/scaling/cluster.py) whose speed was measured on vLLM
(loadtest/scaling/engines.py); a replica starts within 30 to 180 seconds. The policies see the same
requests and cold starts:

default    Ray Serve's own function, its averaging and its delays: 30 s up, 600 s down
tuned      the same function with the delays of ours, so that what is left is the policy
ours       serve.routing.scaling

Each is run at several targets of requests a replica. Targets of two policies mean different things,
so what is compared is replica-hours at equal attainment, along the line through a policy's points.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from loadtest.scaling.engines import ENGINES, Engine, load
from loadtest.scaling.policies import Ours, Policy, RayServe
from loadtest.scaling.run import Outcome, run
from loadtest.scaling.traces import HOUR, TRACES, trace
from serve.config import Autoscaling

PICTURE = Path(__file__).parent / "scaling" / "frontier.svg"
TARGETS = (3, 5, 8, 12, 18, 27)
RATES = (0.5, 2.0, 6.0)
"""Mean requests/s of the experts: they need about 1, 2 and 4 replicas in the calm."""

MAX_REPLICAS = 100
COLOURS = {"default": "#E69F00", "tuned": "#CC79A7", "ours": "#0072B2"}


class Point(NamedTuple):
    """What one policy at one target came to, a seed each."""

    target: int
    outcomes: list[Outcome]

    @property
    def total(self) -> Outcome:
        """All seeds together."""
        return sum(self.outcomes, Outcome())


def policies(target: float) -> dict[str, Callable[[], Policy]]:
    """Name -> how to make one."""
    ours = Autoscaling(max_replicas=MAX_REPLICAS, target_ongoing_requests=target)
    bounds = {"max_replicas": MAX_REPLICAS, "target_ongoing_requests": target}
    delays = {
        "upscale_delay_s": ours.upscale_delay_s,
        "downscale_delay_s": ours.downscale_delay_s,
    }
    return {
        "default": lambda: RayServe(**bounds),
        "tuned": lambda: RayServe(**bounds, **delays),
        "ours": lambda: Ours(ours),
    }


def main() -> None:
    """Print two Markdown tables and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", type=Path, default=ENGINES)
    parser.add_argument("--engine", default="mistral-7b-rtx4090")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--no-fleet", action="store_true", help="without the large fleet")
    arguments = parser.parse_args()
    engine = load(arguments.engines, arguments.engine)
    lines = {name: frontier(name, engine, range(arguments.seeds)) for name in TRACES}
    print(table(lines), flush=True)
    draw(lines, arguments.picture)
    if not arguments.no_fleet:
        print("\n" + fleet_table(engine), flush=True)


def frontier(name: str, engine: Engine, seeds: Sequence[int]) -> dict[str, list[Point]]:
    """Policy -> its points on the traces of this name."""
    found: dict[str, list[Point]] = {}
    for target in TARGETS:
        for policy, make in policies(target).items():
            outcomes = [
                sum(
                    (expert(name, rate, engine, make(), (seed, i)) for i, rate in enumerate(RATES)),
                    Outcome(),
                )
                for seed in seeds
            ]
            found.setdefault(policy, []).append(Point(target, outcomes))
    return found


def expert(
    name: str,
    rate: float,
    engine: Engine,
    policy: Policy,
    seed: tuple[int, int],
    seconds: int | None = None,
) -> Outcome:
    """One expert; its requests and cold starts depend on the seed alone."""
    requests = trace(name, rate, np.random.default_rng([*seed, 0]), seconds)
    return run(requests, engine, policy, np.random.default_rng([*seed, 1]), 2 * MAX_REPLICAS)


def hours_at(attainment: float, points: Sequence[Point], seed: int | None = None) -> float:
    """Replica-hours that a policy needs for this attainment; NaN where no target reaches it.

    Along the lower right edge of its points: a target that costs more and attains less is none.
    """
    outcomes = [point.total if seed is None else point.outcomes[seed] for point in points]
    edge: list[tuple[float, float]] = []
    for outcome in sorted(outcomes, key=lambda o: (o.replica_hours, -o.attainment)):
        if not edge or outcome.attainment > edge[-1][0]:
            edge.append((outcome.attainment, outcome.replica_hours))
    reached, hours = zip(*edge, strict=True)
    if attainment > reached[-1]:
        return float("nan")
    return float(np.interp(attainment, reached, hours))


LEVELS = {"bursty": (0.90, 0.95, 0.99), "diurnal": (0.95, 0.99, 0.999), "flash": (0.90, 0.92, 0.94)}
"""Attainments that are compared: what a trace lets policies reach, with cold starts as they are."""


def table(lines: dict[str, dict[str, list[Point]]]) -> str:
    """Replica-hours of each policy at equal attainment, and what ours saves; seeds apart."""
    rows = [
        "| trace | inside the objective | default, h | tuned, h | ours, h | ours to default | "
        "ours to tuned |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in lines.items():
        for level in LEVELS[name]:
            hours = {policy: hours_at(level, points) for policy, points in found.items()}
            cells = [f"{hours[policy]:.1f}" for policy in ("default", "tuned", "ours")]
            cells += [_saved(found, level, policy) for policy in ("default", "tuned")]
            rows.append(f"| {name} | {level:.1%} | {' | '.join(cells)} |".replace("nan", "-"))
    return "\n".join(rows)


def _saved(found: dict[str, list[Point]], level: float, other: str) -> str:
    """Of all seeds together, and the range over the seeds where each reaches the level."""
    total = hours_at(level, found["ours"]) / hours_at(level, found[other]) - 1
    if np.isnan(total):
        return "-"
    seeds = range(len(found["ours"][0].outcomes))
    each = [
        hours_at(level, found["ours"], seed) / hours_at(level, found[other], seed) - 1
        for seed in seeds
    ]
    return f"{total:+.0%} ({np.nanmin(each):+.0%} to {np.nanmax(each):+.0%})"


def draw(lines: dict[str, dict[str, list[Point]]], file: Path) -> None:
    """Attainment over replica-hours, a panel a trace; file's suffix is its format."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(1, len(lines)), lines.items(), strict=True):
        for policy, points in found.items():
            totals = [point.total for point in points]
            x = [total.replica_hours for total in totals]
            y = [total.attainment for total in totals]
            axes.plot(x, y, "o-", ms=4, color=COLOURS[policy], label=policy)
            for point, at in zip(points, zip(x, y, strict=True), strict=True):
                axes.annotate(
                    str(point.target), at, xytext=(4, -9), textcoords="offset points", fontsize=7
                )
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xlabel("replica-hours")
        axes.set_ylim(0.7, 1.005)
        axes.grid(color="#e5e5e5", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("share of requests inside their objective")
    figure.axes[-1].legend(frameon=False, loc="lower right")
    with mpl.rc_context({"svg.hashsalt": "pointsman"}):
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=150)


FLEETS = (1, 10, 100)
"""Experts."""

FLEET_RATE, FLEET_TARGET = 2.0, 8
"""Mean requests/s of each expert, and requests a replica; about 10 replicas an expert at peak."""


def fleet_table(engine: Engine) -> str:
    """Ours and the default on an hour of bursts in fleets of growing size; what deciding costs."""
    rows = [
        "| experts | policy | replicas at their peaks | requests | inside | replica-hours | "
        "ms to decide for all |",
        "|---|---|---|---|---|---|---|",
    ]
    for experts in FLEETS:
        for name in ("default", "ours"):
            each = (
                expert("bursty", FLEET_RATE, engine, policies(FLEET_TARGET)[name](), (100, i), HOUR)
                for i in range(experts)
            )
            outcome = sum(each, Outcome())
            rows.append(
                f"| {experts} | {name} | {outcome.peak} | {outcome.requests:,} | "
                f"{outcome.attainment:.1%} | {outcome.replica_hours:,.1f} | "
                f"{outcome.policy_s / outcome.calls * experts * 1e3:.2f} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"\n{time.perf_counter() - started:.0f} s")
