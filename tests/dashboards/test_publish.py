"""`pointsman dashboards` against a fake Grafana that holds every body to the published OpenAPI."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from serve.cli import main
from serve.dashboards.catalogue import built
from tests.dashboards.conftest import ROOT
from tests.dashboards.fake_grafana import EDITOR, VIEWER

UIDS = [dashboard["uid"] for dashboard in built().values()]


@pytest.fixture
def pointsman(monkeypatch, capsys):
    """The command as typed -> its lines."""
    monkeypatch.setenv("GRAFANA_TOKEN", EDITOR)

    def typed(*words) -> list[str]:
        monkeypatch.setattr("sys.argv", ["pointsman", "dashboards", *map(str, words)])
        main()
        return capsys.readouterr().out.splitlines()

    return typed


@pytest.fixture
def refused(pointsman, capsys):
    """The command as typed -> its one line of error."""

    def typed(*words) -> str:
        with pytest.raises(SystemExit, match="2"):
            pointsman(*words)
        error = capsys.readouterr().err
        assert error.startswith("pointsman: ") and error.count("\n") == 1
        return error

    return typed


def test_a_second_run_changes_nothing(grafana, pointsman):
    words = ("publish", "--url", grafana.url, "--prometheus", "http://prometheus:9090")
    assert pointsman(*words) == [
        "data source Prometheus: made",
        "folder pointsman: made",
        *(f"dashboard {uid}: made" for uid in UIDS),
    ]
    writes = len(grafana.writes)
    assert writes == 2 + len(UIDS)
    assert [line.rpartition(" ")[2] for line in pointsman(*words)] == ["unchanged"] * writes
    assert len(grafana.writes) == writes


def test_no_uid_is_used_twice(grafana, pointsman):
    pointsman("publish", "--url", grafana.url)
    uids = [folder["uid"] for folder in grafana.folders] + list(grafana.dashboards)
    assert len(uids) == len(set(uids)) == 1 + len(UIDS)


def test_what_was_edited_there_is_put_right_as_a_new_version(grafana, pointsman):
    pointsman("publish", "--url", grafana.url)
    edited = grafana.dashboards["pointsman-cost"]["dashboard"]
    edited |= {"title": "mine", "version": 7}
    said = pointsman("publish", "--url", grafana.url)
    assert [line for line in said if "unchanged" not in line] == [
        "dashboard pointsman-cost: changed"
    ]
    kept = grafana.dashboards["pointsman-cost"]["dashboard"]
    assert (kept["title"], kept["version"]) == ("pointsman cost", 8)


def test_another_folder_takes_the_dashboards_along(grafana, pointsman):
    pointsman("publish", "--url", grafana.url)
    pointsman("publish", "--url", grafana.url, "--folder", "LLM")
    (_, other) = grafana.folders
    assert {each["meta"]["folderUid"] for each in grafana.dashboards.values()} == {other["uid"]}


def test_a_data_source_is_given_another_address_and_keeps_the_rest(grafana, pointsman):
    grafana.make_source({"name": "mine/2", "type": "prometheus", "access": "proxy", "url": "x"})
    grafana.sources[0]["jsonData"] = {"timeInterval": "5s"}
    words = ("publish", "--url", grafana.url, "--datasource", "mine/2")
    assert pointsman(*words, "--prometheus", "y")[0] == "data source mine/2: changed"
    (source,) = grafana.sources
    assert (source["url"], source["jsonData"]) == ("y", {"timeInterval": "5s"})


def test_the_named_data_source_is_the_one_shown_first(grafana, pointsman):
    grafana.make_source({"name": "mine", "type": "prometheus", "access": "proxy", "url": "x"})
    pointsman("publish", "--url", grafana.url, "--datasource", "mine")
    for each in grafana.dashboards.values():
        (first, *_) = each["dashboard"]["templating"]["list"]
        assert first["name"] == "datasource"
        assert first["current"]["value"] == grafana.sources[0]["uid"]


def test_files_are_published_without_the_foundation_sdk(grafana, pointsman, monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "serve.dashboards.catalogue", None)
    assert "deployments/grafana with --from" in refused("publish", "--url", grafana.url)
    pointsman("publish", "--url", grafana.url, "--from", ROOT / "deployments/grafana")
    assert sorted(grafana.dashboards) == sorted(UIDS)


def test_a_dashboard_saved_in_between_is_not_written_over(grafana, pointsman, refused):
    pointsman("publish", "--url", grafana.url)
    routing = grafana.dashboards["pointsman-routing"]["dashboard"]
    routing["title"] = "another's"

    def saved_by_another() -> None:
        routing["version"] += 1

    grafana.before_save = saved_by_another
    said = refused("publish", "--url", grafana.url)
    assert "dashboard pointsman-routing: Client Error 412" in said and "run this again" in said
    assert routing["title"] == "another's"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("glsa_unknown", "folder pointsman: Unauthorized; it does not know the token"),
        (VIEWER, "folder pointsman: Client Error 403"),
        ("", "no token: set GRAFANA_TOKEN"),
        ("two\nlines", "no token: set GRAFANA_TOKEN"),
    ],
)
def test_a_token_that_does_not_do(grafana, refused, token, said, monkeypatch):
    monkeypatch.setenv("GRAFANA_TOKEN", token)
    assert said in refused("publish", "--url", grafana.url)
    assert grafana.writes == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--url", "localhost:3000"], "--url localhost:3000: must be http(s)://"),
        (["--url", "http://[::1"], "--url http://[::1: "),
        (["--url", "{url}/elsewhere"], "is that the address of a Grafana"),
        (["--url", "{url}", "--datasource", "none"], "data source none: is not there"),
        (["--url", "{url}", "--datasource", "loki", "--prometheus", "x"], "is of type loki"),
        (["--url", "{url}", "--from", "none"], "none: has no *.json"),
    ],
)
def test_a_mistake_is_one_line(grafana, refused, words, said):
    grafana.make_source({"name": "loki", "type": "loki", "access": "proxy", "url": "x"})
    assert said in refused("publish", *(word.replace("{url}", grafana.url) for word in words))


def test_nobody_answers(refused):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        said = refused("publish", "--url", f"http://127.0.0.1:{port}")
    assert "no Grafana answers" in said and "refused" in said


def test_a_file_that_is_no_dashboard(refused, tmp_path, grafana):
    (tmp_path / "x.json").write_text(json.dumps({"title": "no uid"}))
    words = ("publish", "--url", grafana.url, "--from", tmp_path)
    assert "x.json: is no dashboard" in refused(*words)


def test_write_says_what_it_wrote(pointsman, tmp_path):
    files = pointsman("write", tmp_path / "new")
    assert files == [str(tmp_path / "new" / f"{name}.json") for name in built()]


def test_a_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused("write", tmp_path / "file")
