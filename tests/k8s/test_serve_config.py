"""serveConfigV2 is the file in deployments/ with in-cluster.yaml, and the application takes it."""

from __future__ import annotations

import pytest
import yaml

from k8s.serve_config import SOURCES, config, patch
from serve.settings_file import read_config, settings_of
from tests.k8s.conftest import OVERLAYS, ROOT


@pytest.fixture
def served(service, tmp_path):
    """The serveConfigV2 of the built RayService, in a file as `serve deploy` takes it."""
    file = tmp_path / "serve.yaml"
    file.write_text(service["spec"]["serveConfigV2"])
    return file


def test_every_overlay_has_a_source():
    assert set(SOURCES) == set(OVERLAYS)


def test_the_kept_file_is_what_make_manifests_writes(overlay):
    kept = (ROOT / "k8s/overlays" / overlay / "serve-config.yaml").read_text()
    assert kept == patch(overlay), "make manifests"


def test_the_ray_service_says_nothing_else(overlay, served):
    assert yaml.safe_load(served.read_text()) == config(overlay)


def test_ray_and_pointsman_take_it(served):
    assert settings_of(read_config(served), served).experts


def test_only_what_a_cluster_needs_differs(overlay):
    """Models, prices, engines, templates and objectives are those of the source."""
    source = ROOT / SOURCES[overlay]
    before = settings_of(read_config(source), source)
    after = config(overlay)["applications"][0]["args"]
    for expert, told in zip(before.experts, after["experts"], strict=True):
        raw = yaml.safe_load(source.read_text())["applications"][0]["args"]["experts"]
        (same,) = [each for each in raw if each["id"] == expert.id]
        assert {**told, "cpus": None} == {**same, "cpus": None}
    assert (
        after["router"]["encoder"]
        == (yaml.safe_load(source.read_text())["applications"][0]["args"]["router"]["encoder"])
    )


def test_it_can_be_reached_from_outside_and_asks_for_keys(overlay):
    told = config(overlay)
    assert told["http_options"]["host"] == "0.0.0.0"
    assert told["proxy_location"] == "EveryNode"
    args = told["applications"][0]["args"]
    assert args["access"] == {"file": "/etc/pointsman/keys.yaml", "redis": "POINTSMAN_REDIS_URL"}
    assert "records" not in args


def test_the_artifact_is_where_the_image_has_it():
    artifact = config("cpu")["applications"][0]["args"]["router"]["artifact"]
    place = artifact.removeprefix("/opt/pointsman/")
    assert (ROOT / place).is_dir()
    dockerfile = (ROOT / "k8s/images/Dockerfile.cpu").read_text()
    assert "WORKDIR /opt/pointsman" in dockerfile and "COPY deployments/ deployments/" in dockerfile
