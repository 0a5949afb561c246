from __future__ import annotations

import pytest
from ray.serve.llm.openai_api_models import ChatCompletionRequest

from serve.config import RouterSettings
from serve.errors import InvalidRequest, UnknownModel
from serve.online.wish import is_routed, read_wish, take_routing
from serve.terms import Wish

PREFERENCES = RouterSettings().preferences


def wish(model="auto", field=None, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_wish(model, field, named, PREFERENCES)


def test_nothing_said_is_no_wish():
    assert wish() == (Wish(), False)
    assert wish(None) == (Wish(), False)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("auto:quality", Wish(tradeoff=0)),
        ("auto:balanced", Wish(tradeoff=0.5)),
        ("auto:cheap", Wish(tradeoff=0.9)),
        ("auto:fast", Wish(fastest=True)),
    ],
)
def test_a_name_stands_for_a_wish(model, expected):
    assert wish(model)[0] == expected


def test_field_and_headers_say_the_same():
    said = {
        "tradeoff": 0.25,
        "max_cost_usd": 0.5,
        "max_latency_s": 3.0,
        "allow": ["a", "b"],
        "deny": ["c"],
        "private": True,
        "explain": True,
    }
    headers = {
        "x_pointsman_tradeoff": "0.25",
        "x_pointsman_max_cost_usd": "0.5",
        "x_pointsman_max_latency_s": "3",
        "x_pointsman_allow": "a, b",
        "x_pointsman_deny": "c",
        "x_pointsman_private": "true",
        "x_pointsman_explain": "1",
    }
    assert wish(field=said) == wish(**headers)
    made, explain = wish(field=said)
    assert explain and made.private and made.allow == {"a", "b"} and made.max_latency_s == 3


def test_the_field_goes_before_the_header_and_the_header_before_the_name():
    assert wish("auto:cheap", {"tradeoff": 0.1}, x_pointsman_tradeoff="0.2")[0].tradeoff == 0.1
    assert wish("auto:cheap", x_pointsman_tradeoff="0.2")[0].tradeoff == 0.2
    assert wish("auto:fast", {"tradeoff": 0.1})[0] == Wish(tradeoff=0.1)


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ({"tradeoff": 2}, "routing.tradeoff"),
        ({"tradeof": 1}, "routing.tradeof"),
        ({"max_latency_s": 0}, "routing.max_latency_s"),
        ({"max_cost_usd": float("nan")}, "routing.max_cost_usd"),
        ({"allow": "a"}, "routing.allow"),
        ("cheap", "routing"),
        ([], "routing"),
    ],
)
def test_a_mistake_names_its_field(field, param):
    with pytest.raises(InvalidRequest) as caught:
        wish(field=field)
    assert caught.value.param == param


@pytest.mark.parametrize("tags", [["patient"], ["other", "patient"]])
def test_a_tag_of_the_settings_makes_a_request_private(tags):
    made, _ = read_wish("auto", {"tags": tags}, {}, PREFERENCES, ["patient"])
    assert made.private
    assert read_wish("auto", None, {"x-pointsman-tags": "patient"}, PREFERENCES, ["patient"])[
        0
    ].private
    assert not read_wish("auto", {"tags": ["other"]}, {}, PREFERENCES, ["patient"])[0].private


def test_a_mistake_in_a_header_names_it():
    with pytest.raises(InvalidRequest) as caught:
        wish(x_pointsman_max_cost_usd="much")
    assert caught.value.param == "x-pointsman-max-cost-usd"


def test_an_unknown_preference_lists_the_known_ones():
    with pytest.raises(UnknownModel, match="auto:balanced"):
        wish("auto:best")


def test_the_field_is_taken_out_of_the_body():
    body = ChatCompletionRequest(
        messages=[{"role": "user", "content": "x"}], routing={"explain": True}
    )
    assert take_routing(body) == {"explain": True}
    assert "routing" not in body.model_dump() and "routing" not in body.model_fields_set
    assert take_routing(body) is None


def test_which_names_ask_the_router():
    assert [is_routed(n) for n in (None, "auto", "auto:x", "autopilot", "e")] == [
        True,
        True,
        True,
        False,
        False,
    ]
