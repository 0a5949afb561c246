from __future__ import annotations

from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serve.online.breaker import Breaker


def test_it_opens_after_so_many_failures_in_a_row():
    breaker = Breaker(3)
    assert not breaker.failed("one") and not breaker.failed("two")
    breaker.succeeded()
    assert not breaker.failed("one") and not breaker.failed("two")
    assert breaker.refuses is None
    assert breaker.failed("three")
    assert breaker.refuses == "three" and breaker.is_open


def test_a_fatal_failure_opens_it_at_once():
    assert Breaker(3).failed("died", fatal=True)


def test_after_a_probe_one_request_tries_it():
    breaker = Breaker(1)
    breaker.failed("died")
    breaker.probed()
    assert breaker.refuses is None
    breaker.enter()
    assert breaker.refuses == "died"
    breaker.left()  # its client went away: the next one may try
    assert breaker.refuses is None
    breaker.enter()
    assert breaker.failed("again") and breaker.refuses == "again"
    breaker.probed()
    breaker.enter()
    breaker.succeeded()
    assert breaker.refuses is None and not breaker.is_open


class Circuit(RuleBasedStateMachine):
    """However requests and probes come: open means probed, and never two try at once."""

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(2)
        self.trying = 0

    @precondition(lambda self: self.breaker.refuses is None)
    @rule()
    def enter(self):
        self.breaker.enter()
        self.trying += 1

    @precondition(lambda self: self.trying)
    @rule()
    def succeed(self):
        self.breaker.succeeded()
        self.trying -= 1
        assert self.breaker.refuses is None

    @precondition(lambda self: self.trying)
    @rule()
    def fail(self):
        self.breaker.failed("it failed")
        self.trying -= 1

    @precondition(lambda self: self.breaker.is_open)
    @rule()
    def probe(self):
        self.breaker.probed()
        assert self.breaker.refuses is None

    @invariant()
    def an_open_circuit_says_why(self):
        assert not self.breaker.is_open or self.breaker.refuses == "it failed"


TestCircuit = Circuit.TestCase
