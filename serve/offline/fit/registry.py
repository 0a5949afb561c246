"""The routers that `train` and `evaluate` know by name, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve.errors import SettingsError
from serve.offline.fit.bert import fit_bert
from serve.offline.fit.constant import fit_constant
from serve.offline.fit.data import Fit
from serve.offline.fit.kmeans import fit_kmeans
from serve.offline.fit.knn import fit_knn
from serve.offline.fit.learned_map import fit_learned_map
from serve.offline.fit.mlp import fit_mlp
from serve.offline.fit.ridge import fit_ridge
from serve.offline.fit.stack import fit_stack
from serve.offline.fit.task_map import fit_task_map
from serve.offline.fit.to_knn import fit_to_knn

DEFAULT = "default"


@dataclass(frozen=True)
class Router:
    """A way to learn a router.

    Attributes:
        fit: see fit/data.py.
        guarded: whether a guard is kept with it.
        priced: whether its rule weighs each answer's expected cost, tokens times price; else each
            expert's mean cost, UniRoute's c(h).
        open: whether its predictor is an OpenPredictor, which takes new experts.
        reads_text: whether it brings its own encoder, and needs no vectors.
        sized: whether how fine its map should be depends on how many answers an expert is known
            by; its fit then takes `probes`.
        on_probes: whether it remembers prompts, so that for new experts S_val is all it has.
    """

    fit: Fit
    guarded: bool = False
    priced: bool = False
    open: bool = True
    reads_text: bool = False
    sized: bool = False
    on_probes: bool = False


ROUTERS: dict[str, Router] = {
    DEFAULT: Router(fit_stack, guarded=True, priced=True),
    "stack": Router(fit_stack, priced=True),
    "task_map": Router(fit_task_map),
    "kmeans": Router(fit_kmeans, sized=True),
    "learned_map": Router(fit_learned_map, sized=True),
    "knn": Router(fit_knn, on_probes=True),
    "ridge": Router(fit_ridge),
    "to_knn": Router(fit_to_knn, open=False),
    "mlp": Router(fit_mlp, open=False),
    "bert": Router(fit_bert, open=False, reads_text=True),
    "zero": Router(fit_constant),
}


def parse_router(text: str) -> tuple[Router, Mapping[str, Any]]:
    """`name` or `name:key=value,key=value` -> the router and the settings of its fit.

    Raises:
        SettingsError: unknown name, or not of that form.
    """
    name, _, rest = text.partition(":")
    if name not in ROUTERS:
        raise SettingsError(f"router {name!r} is unknown; known: {', '.join(ROUTERS)}")
    settings: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise SettingsError(f"router {text!r}: {part!r} is not key=value")
        settings[key] = _value(value)
    return ROUTERS[name], settings


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
