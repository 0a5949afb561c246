from __future__ import annotations

import re

import pytest

from serve.config import RolloutSettings, parse, parse_settings
from serve.errors import SettingsError

EXPERT = {"id": "a", "model": "org/model"}
GOOD = {"experts": [EXPERT], "router": {"encoder": "org/encoder"}}


def broken(**changes):
    return GOOD | changes


def test_the_smallest_settings_get_their_defaults():
    settings = parse_settings(GOOD, "f.yaml")
    assert settings.experts[0].autoscaling.max_replicas == 1
    assert settings.router.batch.max_size == 32
    assert settings.router.lam == 0


def cascading(**changes):
    cascade = {"tiers": ["a", "b"], "signal": "margin", "thresholds": [-1.0]} | changes
    return broken(experts=[EXPERT, EXPERT | {"id": "b"}], router={"cascade": cascade})


def test_a_cascade_is_what_the_settings_say():
    cascade = parse_settings(cascading(), "f.yaml").router.cascade.as_cascade()
    assert cascade.tiers == ("a", "b") and cascade.thresholds == (-1.0,) and cascade.holds
    assert (
        not parse_settings(cascading(streaming="first"), "f.yaml").router.cascade.as_cascade().holds
    )


@pytest.mark.parametrize(
    ("settings", "key", "allowed"),
    [
        (broken(expert=[]), "expert:", "allowed here: experts, router"),
        (broken(experts=[]), "experts:", "at least 1 item"),
        (broken(experts=[EXPERT | {"prise": 1}]), "experts.0.prise:", "price"),
        (broken(experts=[{"id": "a"}]), "experts.0:", "needs model, or remote in its place"),
        (broken(experts=[EXPERT | {"price": {"input": -1}}]), "experts.0.price.input:", "0"),
        (broken(experts=[EXPERT | {"id": "a b"}]), "experts.0.id:", "pattern"),
        (broken(experts=[EXPERT, EXPERT]), "args:", "distinct"),
        (broken(experts=[EXPERT | {"id": "auto"}]), "args:", "auto"),
        (broken(router={"encoder": "e", "lam": 1}), "router.lam:", "lambda"),
        (broken(router={"encoder": "e", "lambda": "x"}), "router.lambda:", "number"),
        (broken(router={"encoder": "e", "batch": {"max_size": 0}}), "router.batch.max_size:", "1"),
        (
            broken(experts=[EXPERT | {"model": {"package": ["a/b"], "sha256": "00"}}]),
            "experts.0.model.sha256:",
            "pattern",
        ),
        (
            broken(experts=[EXPERT | {"autoscaling": {"min_replicas": 3, "max_replicas": 1}}]),
            "experts.0.autoscaling:",
            "min_replicas must not be above max_replicas",
        ),
        (cascading(tiers=["a"], thresholds=[]), "router.cascade.tiers:", "at least 2 items"),
        (cascading(thresholds=[-1.0, -2.0]), "router.cascade:", "one fewer than tiers: 1, got 2"),
        (cascading(thresholds=[float("nan")]), "router.cascade.thresholds.0:", "finite"),
        (cascading(tiers=["a", "a"]), "router.cascade:", "tiers must be distinct"),
        (cascading(tiers=["a", "c"]), "args:", "'c' is no expert; known: a, b"),
        (cascading(signal="luck"), "router.cascade.signal:", "'mean_logprob'"),
        (cascading(share=1), "router.cascade.share:", "allowed here: tiers, signal, thresholds"),
        (cascading(signal="predicted_quality"), "args:", "name router.artifact"),
        (
            cascading(signal="predicted_quality", streaming="first"),
            "router.cascade:",
            "first gains nothing",
        ),
        (broken(tracing={"endpoint": "localhost:4317"}), "tracing.endpoint:", "pattern"),
        (broken(tracing={"url": "x"}), "tracing.endpoint:", "Field required"),
        (
            broken(tracing={"endpoint": "http://c", "rate": 1}),
            "tracing.rate:",
            "endpoint, protocol",
        ),
        (None, "args:", "dictionary"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_what_is_allowed(settings, key, allowed):
    with pytest.raises(SettingsError) as caught:
        parse_settings(settings, "f.yaml")
    line = str(caught.value)
    assert line.startswith(f"f.yaml: {key}"), line
    assert allowed in line
    assert "\n" not in line


def test_settings_cannot_be_changed():
    settings = parse_settings(GOOD, "f.yaml")
    with pytest.raises(ValueError, match="frozen"):
        settings.experts[0].id = "b"


@pytest.mark.parametrize(
    ("rollout", "told"),
    [
        ({"artefact": "a"}, "artefact: unknown key; allowed here: artifact, challenger"),
        ({"challenger": {"artifact": "a", "part": 1}}, "challenger.part: unknown key; allowed"),
        ({"challenger": {"share": 0.1}}, "challenger.artifact: Field required"),
        ({"challenger": {"artifact": "a", "share": 2}}, "challenger.share:"),
    ],
)
def test_a_mistake_in_a_user_config_is_told_the_same_way(rollout, told):
    with pytest.raises(SettingsError, match="^f.yaml: user_config: " + re.escape(told)):
        parse(RolloutSettings, rollout, "f.yaml: user_config")
