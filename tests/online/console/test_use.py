"""The page for everybody, in a browser: keyboard, phone, dark and light, no motion."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.fake_pointsman import QUESTION


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
    expect(console.page.locator("#tradeoff-value")).to_have_text("0.40 as set")
    press("ArrowRight")
    expect(console.page.locator("#tradeoff-value")).to_have_text("0.45")


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
    moves = "(all) => all.some((e) => parseFloat(getComputedStyle(e).transitionDuration) > 0)"
    assert console.page.locator("*").evaluate_all(moves) is False
