"""Fakes of Ray's metrics that remember what they were told."""

from __future__ import annotations

from collections import defaultdict

import pytest

from serve.online import metering


class Metrics:
    """What was counted and observed, by metric and labels."""

    def __init__(self):
        self.counts = defaultdict(float)
        self.seen = defaultdict(list)
        self.labels = {}

    def metric(self, name, description, *rest, **_):
        self.labels[name] = set(rest[-1]) if rest and isinstance(rest[-1], tuple) else set()
        return FakeMetric(self, name)

    def of(self, name):
        """Labels' values, in the order of their names -> what that sums up to."""
        full = f"pointsman_{name}"
        return {key[1:]: value for key, value in self.counts.items() if key[0] == full}

    def observed(self, name):
        full = f"pointsman_{name}"
        return {key[1:]: values for key, values in self.seen.items() if key[0] == full}


class FakeMetric:
    """A Counter, Gauge or Histogram. As Ray's, it takes only the labels that it has."""

    def __init__(self, metrics, name):
        self.metrics, self.name = metrics, name

    def _key(self, tags):
        assert set(tags or ()) == self.metrics.labels[self.name], self.name
        return (self.name, *(value for _, value in sorted((tags or {}).items())))

    def inc(self, value=1.0, tags=None):
        assert value > 0  # Ray refuses anything else
        self.metrics.counts[self._key(tags)] += value

    def observe(self, value, tags=None):
        self.metrics.seen[self._key(tags)].append(value)

    def set(self, value, tags=None):
        self.metrics.counts[self._key(tags)] = value


@pytest.fixture
def metrics(monkeypatch):
    """In place of Ray's, for what metering.py counts."""
    made = Metrics()
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(metering, kind, made.metric, raising=False)
    return made
