from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from loadtest.report.measures import Slo, measure
from loadtest.report.objectives import judge
from loadtest.report.page import markdown, page, tables
from loadtest.users.schedule import plan
from tests.loadtest.report.samples import WHOLE

LIMITS = {"ttft_p95_s": 1.0, "tokens_per_s": 100.0, "usd_per_1000_requests": 1.0}
FAILED = replace(WHOLE, error="HTTP 500: <b>a | b</b>", sent_s=50.0)


def shown(samples):
    measured = measure(samples, Slo())
    return tables(samples, plan("steps", "1,2", 60), judge(LIMITS, measured), measured)


def test_every_objective_has_its_row():
    rows = {row[0]: row[1:] for row in shown([WHOLE])[-1].rows}
    assert rows == {
        "ttft_p95_s": ["at most 1", "0.5", "met"],
        "tokens_per_s": ["at least 100", "2", "missed"],
        "usd_per_1000_requests": ["at most 1", "0.001", "met"],
    }


def test_nothing_measured_is_told():
    assert shown([])[-1].rows[0] == ["ttft_p95_s", "at most 1", "nothing", "missed"]


def test_requests_stand_in_the_stage_they_were_sent_in():
    (stages,) = [table for table in shown([WHOLE, FAILED]) if table.title.startswith("By stage")]
    assert [row[:4] for row in stages.rows] == [
        ["1", "0 to 30", "1", "0"],
        ["2", "30 to 60", "1", "1"],
    ]


def test_markdown_and_html_hold_the_same_cells():
    class Cells(HTMLParser):
        def __init__(self):
            super().__init__()
            self.cells, self.inside = [], False

        def handle_starttag(self, tag, attrs):
            assert tag != "b"
            self.inside = tag in ("th", "td")
            if self.inside:
                self.cells.append("")

        def handle_endtag(self, tag):
            self.inside = False

        def handle_data(self, data):
            if self.inside:
                self.cells[-1] += data

    made = shown([WHOLE, FAILED])
    cells = [cell for table in made for row in (table.header, *table.rows) for cell in row]
    parser = Cells()
    parser.feed(page("a title", made, "locust.html"))
    assert parser.cells == cells
    lines = [line for line in markdown(made).splitlines() if line.startswith("|")]
    unescaped = [line[2:-2].replace("\\|", "\0") for line in lines if "---" not in line]
    assert [c.replace("\0", "|") for line in unescaped for c in line.split(" | ")] == cells
