"""Asking, in a browser: the stream, its end before time, errors, feedback."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.fake_pointsman import ANSWER, QUESTION, WORDS


def test_an_answer_streams_and_tells_what_it_took(console, fake):
    fake.go_on.clear()
    console.open(fake.url)
    console.begin(QUESTION)
    expect(console.last().locator(".text")).to_have_text("The <b>Danube</b>")
    expect(console.last()).to_have_attribute("aria-busy", "true")
    expect(console.page.get_by_role("button", name="Stop")).to_be_visible()
    fake.go_on.set()
    answer = console.answer()
    assert (answer.expert, answer.text, answer.error) == ("large", ANSWER, "")
    first_token = answer.facts.pop("First token")
    assert first_token.endswith((" ms", " s"))
    assert answer.facts == {
        "Request": "request-1",
        "Decision": "3.12 ms",
        "Tokens": "12 in, 6 out",
        "Cost": "1.2 µ$",
        "By the best single": "1 µ$",
        "By the priciest": "9 µ$",
    }
    assert fake.bodies[0] == {
        "model": "auto",
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "routing": {"explain": True},
    }


def test_a_conversation_goes_on_until_it_is_cleared(console, fake):
    console.open(fake.url)
    console.ask("one")
    console.ask("two")
    said = [message["content"] for message in fake.bodies[1]["messages"]]
    assert said == ["one", ANSWER, "two"]
    console.page.get_by_role("button", name="Clear").click()
    expect(console.page.locator(".answer")).to_have_count(0)
    console.ask("three")
    assert len(fake.bodies[2]["messages"]) == 1


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_ends_the_answer_and_keeps_what_was_said(console, fake, how):
    fake.go_on.clear()
    console.open(fake.url)
    console.begin(QUESTION)
    expect(console.last().locator(".text")).to_have_text("The <b>Danube</b>")
    if how == "button":
        console.page.get_by_role("button", name="Stop").click()
    else:
        console.page.keyboard.press("Escape")
    answer = console.answer()
    assert (answer.facts["Ended"], answer.error) == ("you stopped it", "")
    assert fake.left.wait(5), "the server was not told"
    fake.go_on.set()
    console.ask("go on")
    assert fake.bodies[1]["messages"][1]["content"] == "The <b>Danube</b>"


@pytest.mark.refused
def test_an_error_is_told_and_the_question_is_back_in_the_field(console, fake):
    console.open(fake.url)
    assert console.ask("fail").error == "No expert answers"
    expect(console.page.get_by_label("Question")).to_have_value("fail")
    console.ask("again")
    assert len(fake.bodies[1]["messages"]) == 1


def test_an_answer_that_breaks_keeps_its_text(console, fake):
    console.open(fake.url)
    answer = console.ask("break")
    assert (answer.text, answer.error) == ("".join(WORDS[:3]), "The expert went away")


@pytest.mark.refused
def test_a_server_that_is_gone_is_told(console, fake):
    console.open(fake.url)
    console.page.route("**/v1/**", lambda route: route.abort())
    assert console.ask(QUESTION).error == "The server cannot be reached"
    expect(console.page.locator("#live-of")).to_have_text("The server cannot be reached")


def test_feedback_is_given_once(console, fake):
    console.open(fake.url)
    console.ask(QUESTION)
    assert console.rate(good=True) == "Thank you."
    console.ask(QUESTION)
    assert console.rate(good=False) == "Thank you."
    assert fake.scores == {"request-1": 1, "request-2": 0}
    console.last().get_by_role("button", name="Good answer").click()
    expect(console.last().locator(".up")).to_have_attribute("aria-pressed", "false")


@pytest.mark.refused
def test_feedback_is_hidden_where_none_is_kept(console, fake):
    fake.feedback = False
    console.open(fake.url)
    console.ask(QUESTION)
    console.last().get_by_role("button", name="Bad answer").click()
    expect(console.last().locator(".feedback")).to_be_hidden()
    console.ask(QUESTION)
    expect(console.last().locator(".feedback")).to_be_hidden()
