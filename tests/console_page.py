"""The console in a headless Chromium, step by step: for the fake pointsman and for the real one.

As a program it takes the README's picture, of a running application:

    python -m tests.console_page http://127.0.0.1:8000 deployments/console.png
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) =>
    console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"""
REFUSED = "Failed to load resource"
"""How Chromium tells of every answer of status 400 and more."""
QUESTIONS = (
    "What is 17 * 23?",
    "Write a haiku about rain on a tin roof.",
    "Is a tomato a fruit or a vegetable?",
    "Which river flows through Vienna?",
    "And which through Paris?",
)


@dataclass(frozen=True)
class Answer:
    """One answer as the page shows it.

    Attributes:
        expert: who answered.
        text: what it said.
        error: what went wrong; "": nothing.
        facts: what it took, by the page's names.
    """

    expert: str
    text: str
    error: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Row:
    """One candidate; `mark` is `pick` or `answers` of the one that it is."""

    expert: str
    quality: float
    price: str
    time: str
    mark: str
    barred: str


class Console:
    """The page, as somebody uses it.

    Args:
        page: of a browser, blank.
        timeout_s: for an answer to be over.

    Attributes:
        faults: the browser's errors and breaches of the content security policy.
        refusals: answers of status 400 and more, as the browser tells of them; it may do so some
            time after the page has shown them.
    """

    def __init__(self, page: Page, timeout_s: float = 10) -> None:
        self.page = page
        self.faults: list[str] = []
        self.refusals: list[str] = []
        self._answer_ms = timeout_s * 1000
        page.on("console", self._logged)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.add_init_script(VIOLATIONS)

    def open(self, url: str) -> None:
        """Loads the page and waits for its models."""
        self.page.goto(url)
        expect(self.page.locator("#model option").nth(1)).to_be_attached()

    def write(self, question: str) -> None:
        """A draft, not sent; waits for its preview."""
        self.page.get_by_label("Question").fill(question)
        self._decided()
        expect(self.page.locator("#candidates tbody tr").first).to_be_visible()

    def begin(self, question: str) -> None:
        """Sends a question."""
        self.page.get_by_label("Question").fill(question)
        self.page.get_by_role("button", name="Send").click()

    def ask(self, question: str) -> Answer:
        """Sends a question and waits for the end of its answer."""
        self.begin(question)
        return self.answer()

    def answer(self) -> Answer:
        """The last answer, once it is over."""
        last = self.last()
        expect(last).to_have_attribute("aria-busy", "false", timeout=self._answer_ms)
        error = last.locator(".error")
        return Answer(
            last.locator(".name").inner_text(),
            last.locator(".text").text_content() or "",
            error.inner_text() if error.is_visible() else "",
            _pairs(last.locator(".facts > div")),
        )

    def last(self) -> Locator:
        """The last answer, which may be under way."""
        return self.page.locator(".answer").last

    def choose(self, model: str) -> None:
        """Takes a model."""
        self.page.get_by_label("Model").select_option(model)

    def slide(self, tradeoff: float) -> str:
        """Moves the slider, with a question in hand; who would answer there."""
        self.page.get_by_label("Quality or cost").fill(f"{tradeoff:.2f}")
        self._decided()
        expect(self.page.locator("#pick")).to_contain_text("Would answer")
        expect(self.page.locator("#curve .marker")).to_have_attribute(
            "data-tradeoff", f"{tradeoff:g}"
        )
        return self.page.locator("#pick .named").inner_text().strip()

    def marker(self) -> tuple[float, float]:
        """Where the marker stands on the curve, in pixels, once it has come to rest."""
        marker = self.page.locator("#curve .marker")
        marker.evaluate("m => Promise.all(m.getAnimations().map((a) => a.finished))")
        box = marker.bounding_box()
        assert box is not None, "the marker is not drawn"
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def expected(self) -> dict[str, str]:
        """What is expected at the marker."""
        return _pairs(self.page.locator("#expected > div"))

    def candidates(self) -> list[Row]:
        """The table, from above."""
        return [_row(row) for row in self.page.locator("#candidates tbody tr").all()]

    def live(self) -> dict[str, str]:
        """The live totals."""
        return _pairs(self.page.locator("#live-totals > div"))

    def rate(self, good: bool) -> str:
        """Gives the last answer a thumb; what the page says then."""
        name = "Good answer" if good else "Bad answer"
        with self.page.expect_response("**/v1/feedback"):
            self.last().get_by_role("button", name=name).click()
        said = self.last().locator(".feedback [role=status]")
        expect(said).not_to_be_empty()
        return said.text_content() or ""

    def give_key(self, key: str) -> None:
        """Types a key in the field, which is open."""
        self.page.get_by_label("API key", exact=True).and_(self.page.locator("input")).fill(key)
        self.page.get_by_role("button", name="Use this key").click()

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def _decided(self) -> None:
        pick = self.page.locator("#pick")
        expect(pick).to_have_attribute("aria-busy", "false", timeout=self._answer_ms)

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            kept = self.refusals if message.text.startswith(REFUSED) else self.faults
            kept.append(message.text)


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window; root has no sandbox."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield chromium
        chromium.close()


def screenshot(
    url: str, file: str | Path, questions: Sequence[str] = QUESTIONS, dark: bool = False
) -> None:
    """The README's picture: a conversation about something, and the choice of its last answer.

    Args:
        url: of an application.
        file: PNG.
        questions: the last two are a conversation, in the picture; those before make traffic.
        dark: in dark colours.
    """
    with browser() as chromium:
        page = chromium.new_page(
            viewport={"width": 1280, "height": 900},
            device_scale_factor=2,
            color_scheme="dark" if dark else "light",
        )
        console = Console(page, timeout_s=120)
        console.open(url)
        for question in questions[:-2]:
            console.ask(question)
            page.get_by_role("button", name="Clear").click()
        for question in questions[-2:]:
            console.ask(question)
        page.wait_for_timeout(2500)  # for the live numbers of the last answer
        page.get_by_role("button", name="Send").evaluate("() => document.activeElement.blur()")
        page.screenshot(path=file, full_page=True)


def _pairs(rows: Locator) -> dict[str, str]:
    return {
        row.locator("dt").text_content() or "": row.locator("dd").text_content() or ""
        for row in rows.all()
    }


def _row(row: Locator) -> Row:
    quality, price, time = (cell.inner_text().strip() for cell in row.locator("td").all())
    mark, barred = row.locator(".mark"), row.locator(".barred")
    return Row(
        row.get_attribute("data-expert") or "",
        float(quality),
        price,
        time,
        mark.inner_text() if mark.count() else "",
        barred.inner_text() if barred.count() else "",
    )


if __name__ == "__main__":
    screenshot(*sys.argv[1:3])
