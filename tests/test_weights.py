from __future__ import annotations

import hashlib
import sys

import pytest

from serve import weights
from serve.config import PackagedModel
from serve.errors import WeightsError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package that carries a model directory."""
    folder = tmp_path / "carried_model"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('nobody runs the package')")
    (folder / "model" / weights.WEIGHTS).write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    sys.modules.pop("carried_model", None)


def ref(path="carried_model/model", content=b"weights"):
    return PackagedModel(package=[path], sha256=hashlib.sha256(content).hexdigest())


def test_a_packaged_directory_is_used_where_it_lies_without_running_the_package(package):
    assert weights.resolve(ref()) == str(package / "model")


def test_other_bytes_than_the_pinned_ones_are_refused(package):
    with pytest.raises(WeightsError, match="sha256 is .* the settings pin"):
        weights.resolve(ref(content=b"other weights"))


def test_a_missing_package_says_how_to_get_it():
    with pytest.raises(WeightsError, match="no_such_package is not installed; run make setup"):
        weights.resolve(ref("no_such_package/model"))


def test_a_missing_file_is_named(package):
    with pytest.raises(WeightsError, match="holds no elsewhere"):
        weights.resolve(ref("carried_model/elsewhere"))


def test_a_hub_id_stays_a_hub_id_and_a_directory_becomes_absolute(tmp_path):
    assert weights.resolve("org/model") == "org/model"
    assert weights.resolve(str(tmp_path)) == str(tmp_path.resolve())


def test_a_path_that_is_no_directory_is_not_taken_for_a_hub_id():
    with pytest.raises(WeightsError, match="no such directory"):
        weights.resolve("./nowhere")


def test_a_converted_model_with_a_changed_byte_is_refused(tmp_path):
    built = tmp_path / "built"
    built.mkdir()
    (built / "config.json").write_text("{}")
    weights._publish(built, tmp_path / "model")
    weights._verify(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{ }")
    with pytest.raises(WeightsError, match="is damaged; delete"):
        weights._verify(tmp_path / "model")
