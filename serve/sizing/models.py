"""Where a model's bytes are, and how many; nothing is downloaded or converted to know it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serve import weights
from serve.config import ModelRef
from serve.errors import WeightsError

Place = Literal["package", "directory", "cache", "to convert", "to download", "missing"]

_GROWTH = 4
"""A packaged 4-bit file as bfloat16, at the most."""

_BILLIONS = re.compile(r"(?:^|[-_.])(?:(\d+)x)?(\d+(?:\.\d+)?)(B|M)(?=$|[-_.])", re.IGNORECASE)
_QUANTISED = re.compile(r"awq|gptq|fp8|int[48]|w\da\d+|[48]-?bit|bnb|gguf|nvfp4", re.IGNORECASE)


@dataclass(frozen=True)
class Model:
    """The weights of one model.

    Attributes:
        name: as the settings say it, in short.
        place: where they are; package, directory and cache: at hand.
        folder: they are in, or will be.
        bytes: of the weights as an engine loads them; None: not known without the network.
        estimated: whether `bytes` is guessed: from the parameters that the name tells, at two
            bytes each, or from the packed size, which it does not exceed.
        disk_bytes: still to be written under `folder`; estimated.
        disk: which disk that is on, as the system counts them.
        disk_free: bytes free there.
        fault: what is wrong where they are missing.
    """

    name: str
    place: Place
    folder: str = ""
    bytes: int | None = None
    estimated: bool = False
    disk_bytes: int = 0
    disk: int = 0
    disk_free: int = 0
    fault: str = ""

    @property
    def known_bytes(self) -> int:
        """Of the weights, as far as they were counted."""
        return 0 if self.estimated else self.bytes or 0


def model_at(ref: ModelRef) -> Model:
    """What can be said of a model on this machine; pinned bytes are compared with their pins."""
    name = ref if isinstance(ref, str) else ref.package[0].rpartition("/")[2].split(".gguf")[0]
    try:
        weights.verify(ref)
        if isinstance(ref, str):
            place = weights.resolve(ref)
            if Path(place).is_dir():
                return Model(name, "directory", place, _weights_in(Path(place)))
            return _on_the_hub(ref)
        if weights.is_at_hand(ref):
            source = weights.parts(ref)[0]
            folder = source if source.is_dir() else weights.target(ref)
            held: Place = "package" if source.is_dir() else "cache"
            name = name if held == "cache" else ref.package[0]
            return Model(name, held, str(folder), _weights_in(folder))
        packed = sum(part.stat().st_size for part in weights.parts(ref))
        grown = _GROWTH * packed
        # The parts are joined beside what they become.
        return _to_write(name, "to convert", str(weights.target(ref)), grown, packed + grown)
    except WeightsError as error:
        return Model(name, "missing", fault=str(error))


def _on_the_hub(name: str) -> Model:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError:
        folder = None
    except HFValidationError as error:
        raise WeightsError(f"{name}: {' '.join(str(error).split())}") from None
    if folder is not None and _is_whole(folder):
        return Model(name, "cache", str(folder), _weights_in(folder))
    guess = bytes_by_name(name)
    return _to_write(name, "to download", constants.HF_HUB_CACHE, guess, guess or 0)


def _to_write(name: str, place: Place, folder: str, guess: int | None, written: int) -> Model:
    there = Path(folder)
    while not there.exists():
        there = there.parent
    return Model(
        name,
        place,
        folder,
        guess,
        estimated=guess is not None,
        disk_bytes=written,
        disk=there.stat().st_dev,
        disk_free=shutil.disk_usage(there).free,
    )


def _is_whole(folder: Path) -> bool:
    """Whether a snapshot holds every file of weights that its index names."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        files = set(json.loads(index.read_text())["weight_map"].values())
        return all((folder / file).exists() for file in files)
    return _weights_in(folder) is not None


def _weights_in(folder: Path) -> int | None:
    """Bytes of a model directory's weights, of one kind of file: many repositories hold two."""
    for kind in ("*.safetensors", "*.bin", "*.gguf"):
        if files := list(folder.glob(kind)):
            return sum(file.stat().st_size for file in files)
    return None


def bytes_by_name(name: str) -> int | None:
    """Weights of as many parameters as a model's name tells, in 16 bits each.

    None where the name tells nothing, or that they are quantised. Experts of a mixture ("8x7B")
    share layers, so theirs is an upper bound.
    """
    name = name.rpartition("/")[2]
    found = _BILLIONS.search(name)
    if found is None or _QUANTISED.search(name):
        return None
    times, count, unit = found.groups()
    return round(2 * int(times or 1) * float(count) * (1e9 if unit in "bB" else 1e6))
