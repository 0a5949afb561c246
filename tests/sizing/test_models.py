from __future__ import annotations

import hashlib
import json
import sys

import pytest
from huggingface_hub import constants

from serve import weights
from serve.config import PackagedModel
from serve.sizing.models import bytes_by_name, model_at


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package that carries a model directory and a GGUF file in two parts."""
    folder = tmp_path / "carrier"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "model" / weights.WEIGHTS).write_bytes(b"weights")
    (folder / "tiny.gguf.part00").write_bytes(b"abc")
    (folder / "tiny.gguf.part01").write_bytes(b"de")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield folder
    sys.modules.pop("carrier", None)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hugging Face cache; returns a function that puts a model's files into it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def holds(name, **files):
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        snapshot = repository / "snapshots" / "1f"
        snapshot.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("1f")
        for stem, content in files.items():
            (snapshot / stem.replace("_", ".")).write_text(content)

    return holds


def pinned(content, *paths):
    return PackagedModel(package=list(paths), sha256=hashlib.sha256(content).hexdigest())


GGUF = ("carrier/tiny.gguf.part00", "carrier/tiny.gguf.part01")


def test_a_packaged_directory_is_where_it_lies(package):
    model = model_at(pinned(b"weights", "carrier/model"))
    assert (model.place, model.bytes, model.estimated) == ("package", 7, False)
    assert model.folder == str(package / "model") and model.disk_bytes == 0


def test_a_packaged_file_is_to_be_converted_and_is_not(package, tmp_path):
    model = model_at(pinned(b"abcde", *GGUF))
    assert (model.name, model.place, model.bytes, model.estimated) == (
        "tiny",
        "to convert",
        20,
        True,
    )
    assert model.disk_bytes == 25 and model.disk_free > 0
    assert not (tmp_path / "cache").exists()


def test_once_converted_it_is_in_the_cache(package):
    ref = pinned(b"abcde", *GGUF)
    folder = weights.target(ref)
    folder.mkdir(parents=True)
    (folder / weights.WEIGHTS).write_bytes(b"bfloat16")
    sums = {weights.WEIGHTS: hashlib.sha256(b"bfloat16").hexdigest()}
    (folder / weights.SUMS).write_text(json.dumps(sums))
    model = model_at(ref)
    assert (model.place, model.folder, model.bytes) == ("cache", str(folder), 8)
    (folder / weights.WEIGHTS).write_bytes(b"float166")
    assert "is damaged; delete" in model_at(ref).fault


@pytest.mark.parametrize("paths", [("carrier/model",), GGUF])
def test_other_bytes_than_the_pinned_ones_are_missing(package, paths):
    model = model_at(pinned(b"other", *paths))
    assert model.place == "missing" and "the settings pin" in model.fault


def test_so_is_a_package_that_is_not_installed_and_a_directory_that_is_not_there():
    assert "is not installed" in model_at(pinned(b"", "no_such_package/model")).fault
    assert "no such directory" in model_at("./nowhere").fault
    assert model_at("no/such/id").fault.startswith("no/such/id: Repo id must be")


def test_a_directory_is_counted_by_one_kind_of_file(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"123")
    (tmp_path / "b.safetensors").write_bytes(b"45")
    (tmp_path / "pytorch_model.bin").write_bytes(b"12345")
    model = model_at(str(tmp_path))
    assert (model.place, model.bytes) == ("directory", 5)


def test_a_whole_snapshot_of_the_hub_is_at_hand(hub):
    hub("org/m", config_json="{}", model_safetensors="1234")
    model = model_at("org/m")
    assert (model.place, model.bytes, model.estimated) == ("cache", 4, False)


def test_one_without_all_files_of_its_index_is_to_be_downloaded(hub, tmp_path):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    hub("org/m-1B", model_safetensors_index_json=index)
    snapshot = next((tmp_path / "hub").glob("*/snapshots/1f"))
    (snapshot / "model-1.safetensors").write_bytes(b"12")
    assert model_at("org/m-1B").place == "to download"
    (snapshot / "model-2.safetensors").write_bytes(b"345")
    assert model_at("org/m-1B").bytes == 5


def test_what_is_not_in_the_cache_is_guessed_by_its_name_without_the_network(hub, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    model = model_at("org/some-8B-instruct")
    assert (model.place, model.bytes, model.disk_bytes) == ("to download", 16 * 10**9, 16 * 10**9)
    assert model.estimated and model.known_bytes == 0
    unsaid = model_at("org/some")
    assert (unsaid.bytes, unsaid.estimated, unsaid.disk_bytes) == (None, False, 0)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("ContactDoctor/Bio-Medical-Llama-3-8B", 8),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", 7),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 56),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 0.135),
        ("Qwen/Qwen2.5-0.5B", 0.5),
        ("Qwen/Qwen3-30B-A3B", 30),
        ("70B-club/llama", None),
        ("org/llama-8B-AWQ", None),
        ("org/llama-8B-FP8-dynamic", None),
        ("sentence-transformers/all-MiniLM-L6-v2", None),
    ],
)
def test_a_name_tells_the_parameters(name, billions):
    assert bytes_by_name(name) == (None if billions is None else round(2e9 * billions))
