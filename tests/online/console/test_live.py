"""The live numbers, in a browser, and the key that they ask for."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.fake_pointsman import ADMIN, ANSWER, QUESTION, USER


def test_live_numbers_follow_and_name_their_metrics(console, fake):
    console.open(fake.url)
    totals = console.page.locator("#live-totals > div")
    expect(totals.first).to_contain_text("Requests0")
    fake.routed = 1
    expect(totals.first).to_contain_text("Requests1")
    assert console.live() == {
        "Requests": "1",
        "Spent": "1.2 µ$",
        "Saved against best single": "-0.2 µ$",
        "Saved against priciest": "7.8 µ$",
        "Guard": "at rest",
        "Unlike training": "2.0 %",
    }
    metric = totals.nth(3).get_attribute("title")
    assert metric == (
        'sum(ray_pointsman_cost_saved_usd_total{against="priciest"}) - '
        'sum(ray_pointsman_cost_lost_usd_total{against="priciest"})'
    )
    console.page.get_by_text("These numbers in Prometheus").click()
    expect(console.page.get_by_text(metric)).to_be_visible()
    small = console.page.locator("#live-experts [data-expert=small]")
    expect(small).to_contain_text("100 %")
    assert "ray_pointsman_expert_share" in small.locator(".share-number").get_attribute("title")


def test_nothing_is_polled_while_nobody_looks(console, fake):
    console.open(fake.url)
    seen = "Object.defineProperty(document, 'visibilityState', {value: '%s', configurable: true});"
    told = "document.dispatchEvent(new Event('visibilitychange'))"
    console.page.evaluate(seen % "hidden" + told)
    console.page.wait_for_timeout(300)
    before = fake.lives
    console.page.wait_for_timeout(2500)
    assert fake.lives == before
    with console.page.expect_response("**/v1/live"):
        console.page.evaluate(seen % "visible" + told)


@pytest.mark.refused
def test_a_key_is_asked_for_and_kept_in_the_tab_alone(console, fake):
    fake.keys = True
    page = console.page
    page.goto(fake.url)
    expect(page.locator("#key-text")).to_contain_text("No API key")
    expect(page.locator("#live")).to_be_hidden()
    console.give_key(USER)
    expect(page.locator("#live-of")).to_contain_text("is not an admin's")
    expect(page.locator("#key-form")).to_be_hidden()
    assert console.ask(QUESTION).text == ANSWER
    page.get_by_role("button", name="Enter a key").click()
    console.give_key(ADMIN)
    expect(page.locator("#live")).to_be_visible()
    page.reload()
    expect(page.locator("#live")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0 and page.context.cookies() == []
    page.get_by_role("button", name="API key").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#key-text")).to_contain_text("No API key")
