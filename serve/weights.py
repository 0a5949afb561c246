"""A model reference of the settings -> something vLLM or transformers can load, bytes checked.

A packaged GGUF file is assembled, compared with its pinned SHA-256, and converted once to a
transformers directory under $XDG_CACHE_HOME/pointsman (default ~/.cache/pointsman).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from serve.config import ModelRef, PackagedModel
from serve.errors import WeightsError

WEIGHTS = "model.safetensors"
SUMS = "SHA256SUMS"
_CHUNK = 1 << 20
_CONVERSION = 2
"""Counts the changes of _convert, so that a model converted by an older one is made again."""


def resolve(ref: ModelRef) -> str:
    """A local directory, or a Hugging Face id as it stands.

    Raises:
        WeightsError: a packaged model is missing or its bytes are not the pinned ones.
    """
    if isinstance(ref, str):
        return _local_or_hub(ref)
    source = parts(ref)
    if source[0].is_dir():
        _check(source[0] / WEIGHTS, [source[0] / WEIGHTS], ref.sha256)
        return str(source[0])
    return str(_converted(ref, source))


def is_at_hand(ref: ModelRef) -> bool:
    """Whether resolve has nothing to convert."""
    if isinstance(ref, str):
        return True
    return parts(ref)[0].is_dir() or target(ref).exists()


def verify(ref: ModelRef) -> None:
    """The checks of resolve, nothing converted.

    Raises:
        WeightsError: as resolve.
    """
    if isinstance(ref, str) or is_at_hand(ref):
        resolve(ref)
    else:
        _check(parts(ref)[0], parts(ref), ref.sha256)


def parts(ref: PackagedModel) -> list[Path]:
    """A packaged model's files in order, or its directory alone.

    Raises:
        WeightsError: one is missing.
    """
    return [_in_package(part) for part in ref.package]


def target(ref: PackagedModel) -> Path:
    """The directory that a packaged GGUF file is converted to."""
    recipe = f"{_CONVERSION}\n{ref.sha256}\n{ref.chat_template}"
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    return cache() / f"{parts(ref)[0].name.split('.gguf')[0]}-{digest}"


def folder(ref: ModelRef) -> str:
    """A local directory in any case: a Hugging Face id is downloaded to the hub's own cache."""
    place = resolve(ref)
    if Path(place).is_dir():
        return place
    from huggingface_hub import snapshot_download

    return snapshot_download(place, allow_patterns=["*.json", "*.safetensors", "*.txt"])


def fingerprint(folder: str) -> str:
    """SHA-256 of a model directory's weights: the identity of an encoder."""
    return _digest([Path(folder) / WEIGHTS])


def _local_or_hub(ref: str) -> str:
    path = Path(ref).expanduser()
    if path.is_dir():
        return str(path.resolve())
    if ref.startswith(("/", "./", "../", "~")):
        raise WeightsError(f"{ref}: no such directory; give a directory or a Hugging Face id")
    return ref


def _in_package(reference: str) -> Path:
    name, _, inner = reference.partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"{reference}: package {name} is not installed; run make setup")
    path = Path(spec.submodule_search_locations[0]) / inner
    if not path.exists():
        raise WeightsError(f"{reference}: package {name} holds no {inner}")
    return path


def _check(what: Path, parts: Iterable[Path], expected: str) -> None:
    found = _digest(parts)
    if found != expected:
        raise WeightsError(
            f"{what}: sha256 is {found}, the settings pin {expected}; "
            "install the pinned package again, or correct the pin"
        )


def _digest(parts: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _converted(ref: PackagedModel, source: list[Path]) -> Path:
    place = target(ref)
    if not place.exists():
        _check(source[0], source, ref.sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            _convert(source, ref.chat_template, Path(scratch))
            _publish(Path(scratch) / "model", place)
    _verify(place)
    return place


def cache() -> Path:
    """Where converted models are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "pointsman" / "models"


def _convert(source: list[Path], chat_template: str | None, scratch: Path) -> None:
    """GGUF parts -> scratch/model, weights dequantised to bfloat16."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GgufConfig,
        PreTrainedTokenizerFast,
    )

    gguf = scratch / "model.gguf"
    with gguf.open("wb") as out:
        for part in source:
            with part.open("rb") as file:
                shutil.copyfileobj(file, out, _CHUNK)
    read = AutoTokenizer.from_pretrained(scratch, gguf_file=gguf.name)
    # The model's own class keeps the vocabulary a second time in Python, and every process of an
    # engine loads and copies it: on Gemma's 262k tokens 1 GB and 15 s of a start.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=read.backend_tokenizer,
        chat_template=chat_template or read.chat_template,
        **read.special_tokens_map,
    )
    model = AutoModelForCausalLM.from_pretrained(
        scratch,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(scratch / "model")
    tokenizer.save_pretrained(scratch / "model")
    # Parsed by all of them, too; without the indentation it is half as long.
    tokenizer.backend_tokenizer.save(str(scratch / "model" / "tokenizer.json"), pretty=False)


def _publish(built: Path, target: Path) -> None:
    """Write the sums and move into place; a second converter that was faster has won."""
    sums = {file.name: _digest([file]) for file in sorted(built.iterdir())}
    (built / SUMS).write_text(json.dumps(sums, indent=2))
    try:
        built.rename(target)
    except OSError:
        if not target.exists():
            raise


def _verify(target: Path) -> None:
    sums = json.loads((target / SUMS).read_text())
    for name, expected in sums.items():
        if _digest([target / name]) != expected:
            raise WeightsError(f"{target}/{name} is damaged; delete {target} and start again")
