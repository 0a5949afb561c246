"""Deferral curves as text: the mean quality that each router reaches within a budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serve.offline.results import Line

STEPS = 11


def curve_table(lines: Sequence[Line]) -> str:
    """One Markdown table for each table and protocol; a row a budget, a column a router."""
    parts = []
    for table, protocol in dict.fromkeys((line.table, line.protocol) for line in lines):
        ours = [line for line in lines if (line.table, line.protocol) == (table, protocol)]
        at = np.linspace(0, len(ours[0].budget) - 1, STEPS).round().astype(int)
        rows = [
            ["USD per 1000 prompts", *(line.router for line in ours)],
            ["---"] * (1 + len(ours)),
            *(
                [f"{1000 * ours[0].budget[i]:.5g}", *(f"{line.quality[i]:.4f}" for line in ours)]
                for i in at
            ),
        ]
        body = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        parts.append(
            f"**{table}, {protocol}**: quality within a budget, from the cheapest expert's cost to "
            f"the dearest one's; mean of {ours[0].seeds} seeds\n\n{body}\n"
        )
    return "\n".join(parts)
