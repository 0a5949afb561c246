"""The choice, in a browser: candidates, slider and curve."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.fake_pointsman import QUESTION


def test_the_candidates_are_those_of_the_decision(console, fake):
    console.open(fake.url)
    console.write(QUESTION)
    assert [row.mark for row in console.candidates()] == ["pick", "", ""]
    console.ask(QUESTION)
    large, small, asleep = console.candidates()
    assert (large.expert, large.quality, large.price) == ("large", 0.58, "2.4 µ$")
    assert (large.time, large.mark, large.barred) == ("400 ms", "answers", "")
    assert (small.expert, small.mark) == ("small", "")
    assert (asleep.expert, asleep.barred) == ("asleep", "has no replica that lives")
    expect(console.page.locator("#reason")).to_have_text(
        "The router decided. Novelty 0.42: like its training prompts."
    )


def test_without_traffic_the_curve_is_the_questions_own(console, fake):
    console.open(fake.url)
    curve = console.page.locator("#curve-of")
    expect(curve).to_contain_text("No routed request yet")
    console.write(QUESTION)
    expect(curve).to_contain_text("of your question alone")
    expect(console.page.locator("#curve .point")).to_have_count(5)
    assert console.slide(0.2) == "large"
    assert console.slide(0.8) == "small"


def test_the_slider_moves_the_pick_and_the_marker_along_the_traffics_curve(console, fake):
    fake.routed = 1
    console.open(fake.url)
    console.write(QUESTION)
    expect(console.page.locator("#curve .point")).to_have_count(21)
    assert console.slide(0.25) == "large"
    dear, good = console.marker()
    assert console.expected() == {
        "Expected quality": "0.527",
        "Expected cost": "1.79 µ$",
        "Against best single": "costs 79 % more",
        "Against priciest": "saves 80 %",
    }
    assert console.slide(0.75) == "small"
    cheap, worse = console.marker()
    assert cheap < dear and worse > good
    assert console.page.locator("#expected-share .number").all_inner_texts() == ["94 %", "6.3 %"]


def test_the_settings_decide_until_the_slider_is_moved_and_again_after(console, fake):
    fake.routed = 1
    console.open(fake.url)
    value = console.page.locator("#tradeoff-value")
    marker = console.page.locator("#curve .marker")
    expect(value).to_have_text("0.40 as set")
    expect(marker).to_have_attribute("data-tradeoff", "0.4")
    console.ask(QUESTION)
    console.write(QUESTION)
    console.slide(0.75)
    expect(value).to_have_text("0.75")
    console.ask(QUESTION)
    console.page.get_by_role("button", name="As set").click()
    expect(console.page.get_by_label("Quality or cost")).to_be_focused()
    expect(value).to_have_text("0.40 as set")
    expect(marker).to_have_attribute("data-tradeoff", "0.4")
    console.ask(QUESTION)
    assert [body["routing"].get("tradeoff") for body in fake.bodies] == [None, 0.75, None]


def test_an_objective_that_is_no_tradeoff_has_no_place_on_the_curve(console, fake):
    fake.tradeoff = None
    fake.routed = 1
    console.open(fake.url)
    expect(console.page.locator("#curve .point")).to_have_count(21)
    expect(console.page.locator("#tradeoff-value")).to_have_text("as set")
    expect(console.page.locator("#curve .marker")).to_be_hidden()
    console.write(QUESTION)
    console.slide(0.75)
    expect(console.page.locator("#curve .marker")).to_be_visible()


def test_a_preference_or_an_expert_leaves_nothing_to_slide(console, fake):
    console.open(fake.url)
    console.choose("auto:cheap")
    expect(console.page.get_by_label("Quality or cost")).to_be_disabled()
    console.ask(QUESTION)
    console.choose("small")
    assert console.ask(QUESTION).expert == "small"
    assert [body["routing"] for body in fake.bodies] == [{"explain": True}] * 2
    console.page.get_by_label("Question").fill("x")
    expect(console.page.locator("#pick")).to_contain_text("small is asked by its name")
