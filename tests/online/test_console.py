"""The page at /: its headers over HTTP, then all of it in a real Chromium before a fake pointsman."""

from __future__ import annotations

import time

import cloudpickle
import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import expect

from serve.online.console.routes import FILES, HEADERS
from serve.online.surface import surface
from tests.console_page import CHROMIUM, Console, browser
from tests.fake_pointsman import ADMIN, USER, WORDS, fake_pointsman

QUESTION = "Which river flows through Vienna?"
SAID = "".join(WORDS)


@pytest.fixture(scope="module")
def client():
    return TestClient(surface())


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
        ("/console/console.js", "text/javascript; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
    ],
)
def test_every_file_has_the_headers_and_is_sent_once(client, path, type_):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, type_)
    assert HEADERS.items() <= dict(answer.headers).items()
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert HEADERS.items() <= dict(again.headers).items()


@pytest.mark.parametrize(
    "path", ["none.js", "", "../routes.py", "..%2froutes.py", "%2fetc%2fpasswd", "a%00b", "x" * 300]
)
def test_no_other_file_is_served(client, path):
    answer = client.get(f"/console/{path}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_only_reading_is_allowed(client):
    assert client.post("/").status_code == client.post("/console/console.js").status_code == 405
    assert client.head("/").status_code == 200


def test_the_openapi_document_has_no_part_of_it(client):
    assert client.get("/openapi.json").json()["paths"] == {}


def test_a_replica_reads_the_files_of_its_own_node(monkeypatch):
    """Ray pickles the application where it is built: no path of that machine may be in it."""
    pickled = cloudpickle.dumps(surface())
    assert str(FILES.directory).encode() not in pickled
    assert TestClient(cloudpickle.loads(pickled)).get("/").status_code == 200


@pytest.fixture(scope="module")
def chromium():
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH (apt-get install chromium)")
    with browser() as started:
        yield started


@pytest.fixture
def fake():
    with fake_pointsman() as started:
        yield started


@pytest.fixture
def settings():
    """Of the browser: a test may ask for another window."""
    return {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture
def console(chromium, fake, settings):
    page = chromium.new_page(**settings)
    console = Console(page)
    yield console
    page.close()
    assert console.faults == []
    assert console.refused == [], "this test did not expect an error"


def refused(console):
    """Whether the server refused something, as this test wanted."""
    told = bool(console.refused)
    console.refused.clear()
    return told


def test_an_answer_streams_and_tells_what_it_took(console, fake):
    fake.go_on.clear()
    console.open(fake.url)
    console.begin(QUESTION)
    expect(console.last().locator(".text")).to_have_text("The <b>Danube</b>")
    expect(console.last()).to_have_attribute("aria-busy", "true")
    expect(console.page.get_by_role("button", name="Stop")).to_be_visible()
    fake.go_on.set()
    answer = console.answer()
    assert (answer.expert, answer.text, answer.error) == ("large", SAID, "")
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
        "routing": {"tradeoff": 0.5, "explain": True},
    }


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


def test_a_conversation_goes_on_until_it_is_cleared(console, fake):
    console.open(fake.url)
    console.ask("one")
    console.ask("two")
    said = [message["content"] for message in fake.bodies[1]["messages"]]
    assert said == ["one", SAID, "two"]
    console.page.get_by_role("button", name="Clear").click()
    expect(console.page.locator(".answer")).to_have_count(0)
    console.ask("three")
    assert len(fake.bodies[2]["messages"]) == 1


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
    until = time.monotonic() + 5
    while fake.left == 0 and time.monotonic() < until:
        console.page.wait_for_timeout(20)
    assert fake.left == 1, "the server was not told"
    fake.go_on.set()
    console.ask("go on")
    assert fake.bodies[1]["messages"][1]["content"] == "The <b>Danube</b>"


def test_an_error_is_told_and_the_question_is_back_in_the_field(console, fake):
    console.open(fake.url)
    assert console.ask("fail").error == "No expert answers"
    expect(console.page.get_by_label("Question")).to_have_value("fail")
    assert refused(console)
    console.ask("again")
    assert len(fake.bodies[1]["messages"]) == 1


def test_an_answer_that_breaks_keeps_its_text(console, fake):
    console.open(fake.url)
    answer = console.ask("break")
    assert (answer.text, answer.error) == ("".join(WORDS[:3]), "The expert went away")


def test_a_server_that_is_gone_is_told(console, fake):
    console.open(fake.url)
    console.page.route("**/v1/**", lambda route: route.abort())
    assert console.ask(QUESTION).error == "The server cannot be reached"
    expect(console.page.locator("#live-of")).to_have_text("The server cannot be reached")
    assert refused(console)


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(console, fake):
    fake.keys = True
    page = console.page
    page.goto(fake.url)
    expect(page.locator("#key-text")).to_contain_text("No API key")
    expect(page.locator("#live")).to_be_hidden()
    console.give_key(USER)
    expect(page.locator("#live-of")).to_contain_text("is not an admin's")
    expect(page.locator("#key-form")).to_be_hidden()
    assert console.ask(QUESTION).text == SAID
    page.get_by_role("button", name="Enter a key").click()
    console.give_key(ADMIN)
    expect(page.locator("#live")).to_be_visible()
    page.reload()
    expect(page.locator("#live")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0 and page.context.cookies() == []
    page.get_by_role("button", name="API key").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator("#key-text")).to_contain_text("No API key")
    assert refused(console)


def test_feedback_is_given_once(console, fake):
    console.open(fake.url)
    console.ask(QUESTION)
    assert console.rate(good=True) == "Thank you."
    console.ask(QUESTION)
    assert console.rate(good=False) == "Thank you."
    assert fake.scores == {"request-1": 1, "request-2": 0}
    console.last().get_by_role("button", name="Good answer").click()
    expect(console.last().locator(".up")).to_have_attribute("aria-pressed", "false")


def test_feedback_is_hidden_where_none_is_kept(console, fake):
    fake.feedback = False
    console.open(fake.url)
    console.ask(QUESTION)
    console.last().get_by_role("button", name="Bad answer").click()
    expect(console.last().locator(".feedback")).to_be_hidden()
    console.ask(QUESTION)
    expect(console.last().locator(".feedback")).to_be_hidden()
    assert refused(console)


def test_a_keyboard_is_enough(console, fake):
    console.open(fake.url)
    press = console.page.keyboard.press
    console.page.keyboard.press("Tab")
    reached = []
    for _ in range(20):
        name = console.page.evaluate("document.activeElement.id || document.activeElement.tagName")
        reached.append(name)
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert name == "BODY" or console.page.evaluate(outline) == "solid", name
        press("Tab")
    order = ["key-toggle", "log", "question", "model", "send", "clear", "tradeoff", "SUMMARY"]
    assert reached[:8] == order
    assert "key-toggle" in reached[8:], "there is a way out of the last one"
    console.page.locator("#question").focus()
    console.page.keyboard.type("first")
    press("Shift+Enter")
    console.page.keyboard.type("second")
    fake.go_on.clear()
    press("Enter")
    expect(console.last().locator(".text")).to_have_text("The <b>Danube</b>")
    press("Escape")
    console.answer()
    fake.go_on.set()
    assert fake.bodies[0]["messages"][0]["content"] == "first\nsecond"
    console.page.locator("#question").press_sequentially("third")
    console.page.locator("#send").focus()
    press("Enter")
    console.answer()
    expect(console.page.locator("#question")).to_be_focused()
    console.page.locator("#tradeoff").focus()
    press("ArrowRight")
    expect(console.page.locator("#tradeoff-value")).to_have_text("0.55")


@pytest.mark.parametrize("settings", [{"viewport": {"width": 360, "height": 740}}])
def test_a_phone_shows_it_all_without_scrolling_sideways(console, fake):
    fake.routed = 1
    console.open(fake.url)
    console.ask(f"{QUESTION} {'x' * 200}")
    console.page.get_by_text("These numbers in Prometheus").click()
    console.page.get_by_role("button", name="API key").click()
    expect(console.page.locator("#live-experts li").first).to_be_visible()
    assert console.overflow() <= 0


LUMINANCE = """element => {
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const of = (color) => {
    const [r, g, b] = color.match(/[0-9.]+/g).map(Number).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = getComputedStyle(element.closest(".card") ?? document.body).backgroundColor;
  return [of(getComputedStyle(element).color), of(ground)];
}"""


@pytest.mark.parametrize(
    ("settings", "dark"), [({"color_scheme": "light"}, False), ({"color_scheme": "dark"}, True)]
)
def test_dark_and_light_can_both_be_read(console, fake, dark):
    console.open(fake.url)
    console.ask(QUESTION)
    for text in console.page.locator(".muted:visible, h2, .text, th, td, .barred, .mark").all():
        ink, ground = text.evaluate(LUMINANCE)
        assert (ink > ground) is dark
        lighter, darker = max(ink, ground), min(ink, ground)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, text.text_content()


@pytest.mark.parametrize("settings", [{"reduced_motion": "reduce"}])
def test_nothing_moves_for_who_wants_no_motion(console, fake):
    console.open(fake.url)
    console.ask(QUESTION)
    moving = "[...document.querySelectorAll('*')].some(e => parseFloat(getComputedStyle(e).transitionDuration) > 0)"
    assert console.page.evaluate(moving) is False
