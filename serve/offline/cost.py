"""What an answer costs: logged dollars where a table has them, else tokens times list price.

And what it is expected to cost before it is given: the prompt's tokens are known, the answer's are
predicted, the prices come from the table's meta.json or, where only dollars and tokens are logged,
from the dollars.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from serve.offline.fit.data import Rows
from serve.offline.table import RoutingTable
from serve.protocol import Doubles, Floats

EXPLAINED = 0.5
"""Prices read from dollars must explain this share of their variance, or the mean cost serves."""


@dataclass(frozen=True)
class Costs:
    """US dollars for N prompts and E experts.

    Attributes:
        measured: (N, E), complete: a gap holds the expert's mean.
        input_tokens: (N, E), 0 where a price is not per token.
        fixed: (E,) dollars an answer whatever its tokens.
        usd_input: (E,) dollars a token of the prompt.
        usd_output: (E,) dollars a token of the answer.
    """

    measured: Doubles
    input_tokens: Doubles
    fixed: Doubles
    usd_input: Doubles
    usd_output: Doubles

    def expected(self, output_tokens: Floats) -> Doubles:
        """(N, E) predicted answer lengths -> (N, E) dollars."""
        return np.asarray(
            self.fixed + self.input_tokens * self.usd_input + output_tokens * self.usd_output
        )

    def flat(self) -> Costs:
        """The same with one expected cost an expert, its mean: UniRoute's c(h)."""
        nothing = np.zeros_like(self.fixed)
        return replace(
            self, fixed=self.measured.mean(axis=0), usd_input=nothing, usd_output=nothing
        )

    def rows(self, chosen: NDArray[np.bool_] | Rows) -> Costs:
        """The chosen prompts."""
        return replace(self, measured=self.measured[chosen], input_tokens=self.input_tokens[chosen])


def costs_of(table: RoutingTable, known: Rows | None = None) -> Costs:
    """The costs of a table; 1 for every answer where it knows neither dollars nor prices.

    Args:
        table: N prompts.
        known: rows that prices and means are read from, so that nothing is learned from test
            prompts; None: all.
    """
    rows = np.arange(len(table.prompts)) if known is None else known
    prompt, answer = _input_tokens(table), _tensor(table, "out_tokens")
    dollars = _tensor(table, "cost_usd")
    listed = _listed(table)
    if np.isnan(dollars).all() and np.isnan(answer).all():
        # List prices alone rank the experts; what an answer's tokens come to is not known.
        price = np.nan_to_num(listed.sum(axis=0) / 2) if listed is not None else np.ones(1)
        fixed = np.broadcast_to(price, dollars.shape[1:]).astype(float)
        nothing = np.zeros(dollars.shape[1])
        return Costs(np.tile(fixed, (len(dollars), 1)), prompt, fixed, nothing, nothing)
    answer = _filled(answer, rows)
    if np.isnan(dollars).all() and listed is not None:
        dollars = prompt * listed[0] / 1e6 + answer * listed[1] / 1e6
    return _priced(_filled(dollars, rows), ~np.isnan(dollars), prompt, answer, rows)


def _priced(
    measured: Doubles, logged: NDArray[np.bool_], prompt: Doubles, answer: Doubles, known: Rows
) -> Costs:
    experts = measured.shape[1]
    fixed, usd_in, usd_out = measured[known].mean(axis=0), np.zeros(experts), np.zeros(experts)
    for e in range(experts):
        rows = known[logged[known, e]]
        terms = np.stack([np.ones(len(rows)), prompt[rows, e], answer[rows, e]], axis=1)
        price, error = nnls(terms, measured[rows, e])
        variance = ((measured[rows, e] - measured[rows, e].mean()) ** 2).sum()
        if variance > 0 and error**2 <= (1 - EXPLAINED) * variance:
            fixed[e], usd_in[e], usd_out[e] = price
    return Costs(measured, prompt, fixed, usd_in, usd_out)


def _listed(table: RoutingTable) -> Doubles | None:
    """(2, E) list prices of input and output per million tokens, NaN where not given."""
    prices = table.meta.get("prices") or table.meta.get("prices_usd_per_million_tokens")
    if not isinstance(prices, dict):
        return None
    rows = [prices.get(name) or {} for name in table.experts]
    keys = (("in_per_M", "input"), ("out_per_M", "output"))
    return np.array([[float(r.get(a, r.get(b, np.nan))) for r in rows] for a, b in keys])


def _input_tokens(table: RoutingTable) -> Doubles:
    """(N, E): as each expert counted them, or as the table counts them once for all."""
    if "in_tokens" in table.tensors:
        return _filled(_tensor(table, "in_tokens"), np.arange(len(table.prompts)))
    shape = table.quality.shape
    if "in_tokens" in table.prompts:
        tokens = table.prompts["in_tokens"].to_numpy(dtype=np.float64)
    else:
        tokens = np.array([len(text) / 4 for text in table.texts])
    return np.broadcast_to(np.nan_to_num(tokens)[:, None], shape)


def _tensor(table: RoutingTable, stem: str) -> Doubles:
    if stem not in table.tensors:
        return np.full(table.quality.shape, np.nan)
    return table.tensors[stem].to_numpy(dtype=np.float64)


def _filled(values: Doubles, known: Rows) -> Doubles:
    """Gaps become the expert's mean over known rows; an expert with none, the pool's mean."""
    measured = ~np.isnan(values)
    count = measured[known].sum(axis=0)
    total = np.where(measured, values, 0)[known].sum(axis=0)
    pool = total.sum() / max(count.sum(), 1)
    means = np.where(count > 0, total / np.maximum(count, 1), pool)
    return np.where(measured, values, means)
