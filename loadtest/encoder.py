"""How many prompts a second the router's encoder reads here, and whether it reads the same.

    python -m loadtest.encoder FOLDER --save here.npz
    python -m loadtest.encoder FOLDER --save there.npz --against here.npz
    python -m loadtest.encoder FOLDER --compare here.npz there.npz --router deployments/local/router

FOLDER is the encoder's model directory. A GPU reads in bfloat16, most CPUs in float32: the last
form says what that changes in the vectors and in the choices of a trained router.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from serve.encoding.transformer import TransformerEncoder
from serve.protocol import Floats

PROMPTS = Path("deployments/local/prompts.jsonl")
BATCHES = (1, 8, 32, 64)
SECONDS = 4.0
"""For each batch size, after a second of warming up."""


def main() -> None:
    """Print one or two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("HERE", "THERE"))
    parser.add_argument("--router", type=Path)
    arguments = parser.parse_args()
    if arguments.compare:
        here, there = (np.load(file)["vectors"] for file in arguments.compare)
        compare(here, there, arguments.router)
        return
    rows = map(json.loads, PROMPTS.read_text().splitlines())
    texts = [row["prompt"] for row in rows if "prompt" in row]
    encoder = TransformerEncoder(arguments.folder)
    speed(encoder, texts)
    if arguments.save:
        np.savez(arguments.save, vectors=read(encoder, texts))


def speed(encoder: TransformerEncoder, texts: list[str]) -> None:
    """Reading the same prompts in turn, tokenizing included, in batches of each size."""
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{where}, {len(texts)} prompts of {np.mean([*map(len, texts)]):.0f} characters\n")
    print("| batch | ms a batch | prompts/s |\n|---|---|---|")
    for size in BATCHES:
        batches = [texts[i : i + size] for i in range(0, len(texts) - size + 1, size)]
        took = [0.0]
        for stop, keep in ((1.0, False), (SECONDS, True)):
            took, began, at = [], time.perf_counter(), 0
            while time.perf_counter() - began < stop:
                start = time.perf_counter()
                encoder.encode(batches[at % len(batches)])
                took.append(time.perf_counter() - start)
                at += 1
            if keep:
                print(f"| {size} | {1000 * np.median(took):.2f} | {size * at / sum(took):,.0f} |")


def read(encoder: TransformerEncoder, texts: list[str]) -> Floats:
    """(B,) texts -> (B, D)."""
    size = BATCHES[-1]
    parts = [encoder.encode(texts[i : i + size]) for i in range(0, len(texts), size)]
    return np.concatenate(parts)


def compare(here: Floats, there: Floats, router: Path) -> None:
    """Likeness of two readings of the same prompts, and of what a router says to them."""
    from serve.routing import artifact  # needs nothing of a GPU, and the device machine lacks some

    predictor = artifact.load(router).predictor
    one, other = predictor.predict(here), predictor.predict(there)
    cosine = np.einsum("ij,ij->i", here, there)
    same = one.quality.argmax(axis=1) == other.quality.argmax(axis=1)
    apart = np.abs(one.quality - other.quality)
    print(f"cosine: median {np.median(cosine):.5f}, least {cosine.min():.5f}")
    print(f"predicted quality: median {np.median(apart):.5f} apart, at most {apart.max():.5f}")
    print(f"the same best expert for {same.sum()} of {len(same)} prompts")


if __name__ == "__main__":
    main()
