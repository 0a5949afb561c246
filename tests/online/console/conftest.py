"""The console in a real Chromium, before a fake pointsman."""

from __future__ import annotations

import pytest

from tests.console_page import CHROMIUM, Console, browser
from tests.fake_pointsman import fake_pointsman


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
def console(chromium, fake, settings, request):
    page = chromium.new_page(**settings)
    console = Console(page)
    yield console
    refused = request.node.get_closest_marker("refused") is not None
    if refused and not console.refusals:
        page.wait_for_event("console")
    page.close()
    assert console.faults == []
    assert bool(console.refusals) == refused, console.refusals
