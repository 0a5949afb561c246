"""The console at / of the running application, clicked through in a real Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.console_page import CHROMIUM, Console, browser
from tests.e2e.conftest import ANSWER_TIMEOUT_S, EXPERTS

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture
def console(application, chromium):
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    console = Console(page, timeout_s=ANSWER_TIMEOUT_S)
    console.open(application.url)
    yield console
    page.close()
    assert console.faults == []


def test_a_question_is_answered_and_its_choice_shown(application, console):
    answer = console.ask("Which river flows through Vienna?")
    assert answer.error == "" and answer.text.strip() and answer.expert in EXPERTS
    rows = console.candidates()
    assert {row.expert for row in rows} == set(EXPERTS)
    assert [row.expert for row in rows if row.mark == "answers"] == [answer.expert]
    said = application.live()
    (expert,) = (each for each in said["experts"] if each["id"] == answer.expert)
    assert expert["requests"] > 0 and console.rate(good=True)
    slider = console.page.locator("#tradeoff-value")
    expect(slider).to_have_text(f"{said['tradeoff']:.2f} as set")


def test_the_slider_moves_along_the_curve_of_the_traffic(application, console):
    console.ask("Name a colour.")
    console.write("Write a sentence about the sea.")
    points = application.live()["curve"]["points"]
    dear, cheap = (console.slide(tradeoff) for tradeoff in (0.0, 1.0))
    assert {dear, cheap} <= set(EXPERTS)
    for tradeoff, point in ((0.0, points[0]), (1.0, points[-1])):
        console.slide(tradeoff)
        assert float(console.expected()["Expected quality"]) == pytest.approx(
            point["quality"], abs=6e-4
        )


def test_the_live_numbers_are_those_of_the_endpoint(application, console):
    console.ask("What is 17 * 23?")
    said = application.live()
    requests = console.page.locator("#live-totals dd").first
    expect(requests).to_have_text(f"{said['requests']:,}", timeout=20_000)
    assert console.live()["Guard"] == ("active" if said["guard_active"] else "at rest")
