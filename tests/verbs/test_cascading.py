from __future__ import annotations

from typing import get_args

from serve.routing.cascade import Signal
from serve.verbs.cascading import SIGNALS


def test_the_verb_knows_every_signal_without_importing_them():
    assert set(SIGNALS) == set(get_args(Signal))
