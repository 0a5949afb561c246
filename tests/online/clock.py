"""A clock to be set, in place of the module time."""

from __future__ import annotations

import limits.aio.storage.memory
import limits.aio.strategies

from serve.online import counters, ledger

MODULES = (limits.aio.storage.memory, limits.aio.strategies, counters, ledger)


class FakeClock:
    """A minute before noon, UTC."""

    now = 1_800_014_340.0
    ran = 0.0

    def time(self):
        return self.now

    def monotonic(self):
        return self.ran

    def pass_(self, seconds):
        self.now += seconds
        self.ran += seconds


def fake_clock(monkeypatch) -> FakeClock:
    clock = FakeClock()
    for module in MODULES:
        monkeypatch.setattr(module, "time", clock)
    return clock
