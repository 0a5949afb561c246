from __future__ import annotations

import pytest

from serve.online.apis.base import Bill, Usage
from serve.online.live import WINDOW, Live, together
from serve.protocol import Query
from tests.routing.test_pipeline import pipeline

EXPERTS = ("small", "large")
DEPTHS = {"small": 1, "large": 0}


@pytest.fixture
def router(fake_encoder, pool):
    return pipeline(fake_encoder, pool)


def busy(router, requests):
    live = Live(EXPERTS)
    for i in range(requests):
        (decision,) = router.decide([Query(f"q{i}", 4)])
        live.dispatched(EXPERTS[i % 2], decision)
        live.billed(EXPERTS[i % 2], Usage(4, 10), Bill(0.5, 2.0, 1.0))
    live.dispatched("large", None)
    return live


def test_shares_are_of_routed_requests_and_sums_of_all(router):
    live = busy(router, 10)
    assert live.shares == {"small": 0.5, "large": 0.5}
    told = together([live.figures(router, DEPTHS)])
    assert told["requests"] == 11 and told["cost_usd"] == pytest.approx(5.0)
    assert told["saved_usd"] == pytest.approx({"best_single": 5.0, "priciest": 15.0})
    assert (told["priciest"], told["tradeoff"]) == ("large", router.tradeoff)
    small = told["experts"][0]
    assert (small["id"], small["share"], small["queue_depth"]) == ("small", 0.5, 1)
    assert small["output_tokens"] == 50 and "recent" not in small


def test_the_curve_is_of_the_last_requests(router):
    live = busy(router, WINDOW + 20)
    curve = live.figures(router, DEPTHS)["curve"]
    assert curve["requests"] == WINDOW and len(curve["points"]) == 21
    first, last = curve["points"][0], curve["points"][-1]
    assert last["cost_usd"] <= first["cost_usd"] <= first["priciest_usd"]
    assert sum(first["share"].values()) == pytest.approx(1)


def test_nothing_yet_is_told_as_nothing(router):
    told = together([Live(EXPERTS).figures(router, DEPTHS)])
    assert told["curve"] == {"requests": 0, "points": []} and told["ood_ratio"] == 0
    assert [expert["share"] for expert in told["experts"]] == [0, 0]


def test_replicas_weigh_by_what_they_saw(router):
    one, three = (busy(router, n).figures(router, DEPTHS) for n in (20, 60))
    told = together([one, three, Live(EXPERTS).figures(router, DEPTHS)])
    assert told["replicas"] == 3 and told["requests"] == 82
    assert told["curve"]["requests"] == 80
    for name in ("quality", "cost_usd"):
        mean = (20 * one["curve"]["points"][3][name] + 60 * three["curve"]["points"][3][name]) / 80
        assert told["curve"]["points"][3][name] == pytest.approx(mean)
    assert sum(expert["share"] for expert in told["experts"]) == pytest.approx(1)
