from __future__ import annotations

import pytest

from serve.explain.words import text
from serve.protocol import Query
from serve.routing.choice import Policy
from serve.terms import Status, Wish
from tests.explain.records import ANSWER, record


def test_the_whole_story():
    told = record(
        [0.5, 0.7],
        [0.1, 0.4],
        novelty=0.25,
        max_tokens=64,
        wish={"tradeoff": 0.5, "deny": ["e9"], "private": True},
        needs={"tools": True},
        challenger={"router": "toy@2", "pick": "e1", "canary": False},
        **ANSWER,
    )
    assert (
        text(told)
        == """\
Request r1, 2027-01-15 08:00:00 UTC: /v1/chat/completions, status 200 after 1.500 s
Asked by alice for auto: about 10 tokens, an answer of at most 64
  wish: tradeoff 0.5, deny e9, private yes
  needs: tools yes

Decided by toy@1 in 1.25 ms (queue 0.10, batch_wait 0.20, predict 0.50)
Utility: quality - 1 * cost_usd
Novelty 0.25: 25% of the training prompts lie nearer to the others than this prompt does
Challenger toy@2 picks e1; it only watched

      quality  cost USD  utility    tokens  seconds  switch USD  wake s
* e0   0.5000       0.1   0.4000  10 + 100     0.00           0       0
  e1   0.7000       0.4   0.3000  10 + 100     0.00           0       0

e0 comes first, of the highest utility

e0 answered, first token after 0.250 s: 11 + 20 tokens, by its own count
Cost 0.001 USD; for as many tokens the best single expert 0.0005 (lost 0.0005), the priciest \
0.004 (saved 0.003)

What would have put another first, each by itself and all else the same:
  e1  quality above 0.8000 (0.1 more); or cost below 0.3 USD (0.1 less); or lambda below 0.667 \
(tradeoff 0.400)"""
    )


def test_a_refused_request_ends_in_its_error():
    told = record(
        [0.5, 0.7],
        [0.1, 0.4],
        query=Query("q", 10, wish=Wish(deny=frozenset({"e0", "e1"}))),
        status=400,
        error="No expert can answer this",
    )
    said = text(told)
    assert "barred: is denied" in said and "No expert might be asked" in said
    assert said.endswith("It ended in an error: No expert can answer this")


def test_one_that_was_shed_has_little_to_tell():
    shed = {"time": 0.0, "request_id": "r", "endpoint": "/messages", "status": 429}
    shed |= {"seconds": 0.001, "error": "Too many requests are under way"}
    assert text(shed).splitlines() == [
        "Request r, 1970-01-01 00:00:00 UTC: /v1/messages, status 429 after 0.001 s",
        "",
        "It ended in an error: Too many requests are under way",
    ]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"query": Query("q", 10, bound_to="e0")}, "in a tool loop with e0, so no other may"),
        ({"query": Query("q", 10, previous="e0")}, "in a conversation that e0 answered before"),
        ({"guarded": True, "novelty": 2.0}, "The guard decided, by every expert's means: the"),
        ({"challenger": {"router": "t", "pick": "e1", "canary": True}}, "decided this request"),
        (ANSWER | {"tried": [["e1", "no route"]]}, "e1 did not answer: no route"),
        (ANSWER | {"cascade": "e0 -0.5, e1"}, "by tier and its certainty: e0 -0.5, e1"),
        (ANSWER | {"counted": False}, "by our count, since it came to no end"),
        (ANSWER | {"ttft_s": None}, "e0 answered: 11 + 20 tokens"),
        (ANSWER | {"cost_usd_priciest": 0.001}, "the priciest 0.001 (as much)"),
    ],
)
def test_what_is_told_where_there_is_something_to_tell(more, told):
    assert told in text(record([0.5, 0.7], [0.1, 0.4], **more))


def test_time_that_would_have_changed_it_is_told():
    late = {"policy": Policy(late_s=2.0), "snapshot": {"e1": Status(first_s=9.0)}}
    said = text(record([0.6, 0.62], [0.0, 0.0], **late))
    assert "  not e1, of more utility: is late" in said
    assert "e1  quality above 0.6500 (0.03 more); or an answer within 2.00 s" in said
    # On the very edge of what e0 may be worse by.
    assert "e1  quality above 0.6500 (any more)" in text(record([0.6, 0.65], [0.0, 0.0], **late))


def test_an_expert_that_nothing_puts_first_is_told_as_such():
    told = record([1.0, 0.2], [0.0, 0.0])
    assert "e1  no quality, cost, time or lambda" in text(told)
