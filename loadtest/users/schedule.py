"""The shapes of a load: how many users there are at each second. Knows nothing of Locust."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from serve.errors import SetupError


@dataclass(frozen=True)
class Stage:
    """So many users from `start_s` until `end_s`, in seconds since the load began."""

    start_s: float
    end_s: float
    users: int


@dataclass(frozen=True)
class Shape:
    """Stages of a kind.

    Attributes:
        levels: users at once, where none are asked for.
        stages: levels -> (users, weight of its duration) of each stage.
        takes: how many levels it takes; None: any number.
    """

    levels: tuple[int, ...]
    stages: Callable[[Sequence[int]], list[tuple[int, float]]]
    takes: int | None = None

    @property
    def levels_text(self) -> str:
        """The levels as one writes them on the command line."""
        return ",".join(map(str, self.levels))


SHAPES = {
    "steps": Shape((2, 4, 8), lambda levels: [(users, 1.0) for users in levels]),
    # Most of the time before and after: whether it was well, and whether it is well again.
    "spike": Shape((2, 8), lambda levels: [(levels[0], 2), (levels[1], 1), (levels[0], 2)], 2),
    "steady": Shape((4,), lambda levels: [(levels[0], 1.0)], 1),
}


def plan(shape: str, levels: str | None, seconds: float) -> list[Stage]:
    """The stages of a load.

    Args:
        shape: a name in SHAPES.
        levels: users at once, "2,4,8"; None: the shape's own.
        seconds: of all stages together.

    Raises:
        SetupError: the levels are no such list, or not as many as the shape takes.
    """
    kind = SHAPES[shape]
    wanted = _parse(levels) if levels else kind.levels
    if kind.takes not in (None, len(wanted)):
        raise SetupError(f"--shape {shape} takes {kind.takes} of --levels, got {levels}")
    if seconds <= 0:
        raise SetupError(f"--minutes must be above 0, got {seconds / 60:g}")
    weighted = kind.stages(wanted)
    whole = sum(weight for _, weight in weighted)
    ends = [seconds * done / whole for done in accumulate(weight for _, weight in weighted)]
    return [
        Stage(start, end, users)
        for start, end, (users, _) in zip([0.0, *ends], ends, weighted, strict=False)
    ]


def users_at(stages: Sequence[Stage], elapsed_s: float) -> int | None:
    """Users at that second; None once the load is over."""
    return next((stage.users for stage in stages if elapsed_s < stage.end_s), None)


def _parse(levels: str) -> tuple[int, ...]:
    try:
        wanted = tuple(int(level) for level in levels.split(","))
    except ValueError:
        wanted = ()
    if not wanted or min(wanted) < 1:
        raise SetupError(f"--levels must be numbers of users such as 2,4,8, got {levels!r}")
    return wanted
