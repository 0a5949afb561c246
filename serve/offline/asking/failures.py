"""What failed in a run and why, as a table a person reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from serve.offline.asking.ask import Answer


def report(answers: Sequence[Answer]) -> str:
    """By expert and reason: how many prompts, and one of them; empty where none failed."""
    failed = [answer for answer in answers if answer.error is not None]
    if not failed:
        return ""
    frame = pd.DataFrame(
        {
            "expert": [answer.expert for answer in failed],
            # Two refusals that differ in a number of tokens have one reason.
            "kind": [re.sub(r"\d+", "#", answer.error or "") for answer in failed],
            "why": [answer.error for answer in failed],
            "for example": [answer.prompt for answer in failed],
        }
    )
    groups = frame.groupby(["expert", "kind"], sort=False)
    table = groups.agg(
        prompts=("why", "size"), why=("why", "first"), example=("for example", "first")
    )
    rows = [["expert", "prompts", "for example", "why"]]
    rows += [[e, str(n), x, w] for (e, _), (n, w, x) in zip(table.index, table.values, strict=True)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}"
        for row in rows
    )
