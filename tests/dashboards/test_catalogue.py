"""The dashboards are Grafana's, and the files in deployments/ are the dashboards."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import jsonschema
import pytest

from serve.dashboards.catalogue import built
from serve.dashboards.files import write
from tests.dashboards.conftest import ROOT

BUILT = built()
DASHBOARDS = [pytest.param(dashboard, id=name) for name, dashboard in BUILT.items()]


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_it_is_what_grafanas_schema_says(dashboard, schema):
    assert dashboard["schemaVersion"] == 41
    validator = jsonschema.Draft7Validator(schema)
    assert [error.json_path for error in validator.iter_errors(dashboard)] == []


def test_the_schema_knows_our_panels(schema):
    """That a misspelled field is found, or the test above holds of everything."""
    dashboard = json.loads(json.dumps(BUILT["cost"]))
    dashboard["panels"][1]["titel"] = dashboard["panels"][1].pop("title")
    validator = jsonschema.Draft7Validator(schema)
    assert [error.json_path for error in validator.iter_errors(dashboard)] == ["$.panels[1]"]


def test_the_committed_files_are_what_the_code_builds(tmp_path):
    kept = {file.name: file.read_text() for file in (ROOT / "deployments/grafana").iterdir()}
    made = {file.name: file.read_text() for file in write(BUILT, tmp_path)}
    assert kept == made, "run: pointsman dashboards write deployments/grafana"


def test_uids_are_distinct_and_as_long_as_grafana_takes():
    uids = [dashboard["uid"] for dashboard in BUILT.values()]
    assert len(set(uids)) == len(uids)
    assert all(len(uid) <= 40 for uid in uids)


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_panels_have_a_title_an_id_and_a_place_of_their_own(dashboard):
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    assert not any(overlap(a["gridPos"], b["gridPos"]) for a, b in combinations(panels, 2))
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    def meet(start: str, size: str) -> bool:
        return max(a[start], b[start]) < min(a[start] + a[size], b[start] + b[size])

    return meet("x", "w") and meet("y", "h")


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_every_variable_in_an_expression_is_grafanas_or_the_dashboards(dashboard):
    known = {variable["name"] for variable in dashboard["templating"]["list"]}
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    used = {name for target in targets for name in re.findall(r"\$(\w+)", target["expr"])}
    assert used <= known | {"__rate_interval", "__range"}
