"""What a router knows of an expert after 200 probes, beside what full retraining knows.

    .venv/bin/python -m loadtest.onboard $POINTSMAN_DATA/mmlu_pro --without NAME ...

One split of the table, as `pointsman evaluate` makes it. Each expert in turn is held out: `default`
is trained on the others, the expert is added by `pointsman onboard` in a process of its own, which
asks an endpoint on the loopback that plays the recorded answers back. Area is that of the whole
pool on the test prompts, over the whole pool's budgets; `served` is with the guard, `router`
without it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from loadtest.playback import FakeExpert, Recorded
from serve import weights
from serve.config import MINILM
from serve.encoding.transformer import TransformerEncoder
from serve.offline.embed import embed
from serve.offline.guard import sweep_of
from serve.offline.metrics import area, curve_of, lambdas
from serve.offline.splits import split_prompts
from serve.offline.table import RoutingTable
from serve.offline.train import learn
from serve.offline.trial import Trial, split_trial
from serve.protocol import Encoder, Floats
from serve.routing import artifact
from serve.routing.artifact import Artifact

PLACES = (0, 1, 3, 8, 14)
"""Which experts are held out if none is named, by quality."""


@dataclass(frozen=True)
class Split:
    """A table, its vectors and one split of it."""

    name: str
    table: RoutingTable
    vectors: Floats
    encoder: Encoder
    seed: int

    def trial(self, experts: list[str]) -> Trial:
        """The split under some of the experts."""
        return split_trial(self.name, self.table.pool(experts), self.vectors, self.seed)

    def known(self) -> RoutingTable:
        """The prompts of training and validation."""
        train, validation, _ = split_prompts(self.table, self.seed)
        return self.table.rows(train.append(validation))

    def learn(self, experts: list[str], out: Path) -> Artifact:
        """The default router of those experts."""
        table, trial = self.known().pool(experts), self.trial(experts)
        mark = self.table.fingerprint()
        return learn(table, trial.data, trial.costs, "default", self.encoder, out, table=mark)


def main() -> None:
    """Print a Markdown table, a line for each expert that is held out."""
    arguments = _arguments()
    print(
        "| seed | expert | its quality | served: without it | onboarded | retrained | difference ",
        end="",
    )
    print("| router: onboarded | retrained | difference | command, s | asking, s |")
    print("|---" * 12 + "|", flush=True)
    gaps = []
    for seed in range(arguments.seeds):
        split = _split(arguments.table, arguments.without, seed)
        whole = split.trial(split.table.experts)
        with tempfile.TemporaryDirectory() as folder:
            with redirect_stdout(sys.stderr):
                retrained = _areas(split.learn(split.table.experts, Path(folder) / "whole"), whole)
            ranked = split.table.quality.mean().sort_values(ascending=False)
            for expert in arguments.expert or [str(ranked.index[place]) for place in PLACES]:
                line = _held_out(split, whole, expert, arguments, Path(folder))
                before, onboarded, seconds, asking = line
                gap = [o - r for o, r in zip(onboarded, retrained, strict=True)]
                gaps.append(gap[0])
                areas = (before[0], onboarded[0], retrained[0], gap[0])
                areas += (onboarded[1], retrained[1], gap[1])
                cells = [seed, expert, f"{ranked[expert]:.3f}", *(f"{a:.4f}" for a in areas)]
                cells += [f"{seconds:.1f}", f"{asking:.1f}"]
                print(f"| {' | '.join(map(str, cells))} |", flush=True)
    print(f"\nserved: mean difference {np.mean(gaps):+.4f}, least {min(gaps):+.4f}, of {len(gaps)}")


def _held_out(
    split: Split, whole: Trial, expert: str, arguments: argparse.Namespace, folder: Path
) -> tuple[tuple[float, float], tuple[float, float], float, float]:
    """Areas without the expert and with it onboarded; seconds of the command, and of asking."""
    others = [name for name in split.table.experts if name != expert]
    with redirect_stdout(sys.stderr):
        before = split.learn(others, folder / "before")
    column = split.table.experts.index(expert)
    price = {
        "input": float(whole.costs.usd_input[column] * 1e6),
        "output": float(whole.costs.usd_output[column] * 1e6),
    }
    new = folder / "new.yaml"
    new.write_text(yaml.safe_dump({"id": expert, "model": "played/back", "price": price}))
    with FakeExpert(_recorded(split, whole, expert)) as fake:
        command = [sys.executable, "-c", "from serve.cli import main; main()", "onboard"]
        command += ["--expert", str(new), "--probe", str(arguments.probe), "--url", fake.url]
        command += ["--artifact", str(folder / "before"), "--out", str(folder / "after")]
        command += ["--grader", "choice", "--lambda", str(arguments.lam)]
        command += ["--confidence", str(arguments.confidence)]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(done.stderr)
        print(done.stdout, file=sys.stderr, flush=True)
        after = artifact.load(folder / "after")
        return _areas(before, whole), _areas(after, whole), seconds, fake.seconds


def _areas(router: Artifact, whole: Trial) -> tuple[float, float]:
    """With the guard and without, on the test prompts of the whole pool."""
    at = np.array([whole.test.experts.index(name) for name in router.predictor.experts])
    said = router.predictor.predict(whole.test.vectors)
    lengths = np.zeros(whole.test.quality.shape, dtype=np.float32)
    lengths[:, at] = said.output_tokens
    expected = whole.test_costs.expected(lengths)[:, at]
    quality, cost = whole.test.quality.astype(np.float64), whole.test_costs.measured
    lam = lambdas(whole.costs.measured)
    areas = []
    for guard in (router.guard, None):
        picks = [at[chosen] for chosen in sweep_of(said, expected, lam, guard)]
        areas.append(area(curve_of(picks, lam, quality, cost), cost))
    return areas[0], areas[1]


def _recorded(split: Split, whole: Trial, expert: str) -> dict[str, Recorded]:
    """By prompt: a text that is graded as the table grades the expert's answer."""
    known, column = split.known(), split.table.experts.index(expert)
    answers = {}
    for row, (text, right) in enumerate(zip(known.texts, known.prompts["answer"], strict=True)):
        quality = whole.data.quality[row, column]
        wrong = "B" if right == "A" else "A"
        answers[text] = Recorded(
            None if np.isnan(quality) else f"The answer is ({right if quality else wrong}).",
            round(whole.costs.input_tokens[row, column]),
            round(float(np.nan_to_num(whole.data.output_tokens[row, column]))),
        )
    return answers


def _split(folder: Path, without: list[str], seed: int) -> Split:
    table = RoutingTable.load(folder)
    table = table.pool([expert for expert in table.experts if expert not in without])
    # Read as `pointsman evaluate` reads them, so that both share the cache.
    encoder = TransformerEncoder(weights.folder(MINILM))
    texts = table.rows(table.prompts.index[table.prompts["prompt"].notna()])
    vectors = embed(texts.texts, encoder)
    comparable, _ = table.comparable(folder)
    vectors = vectors[texts.prompts.index.get_indexer(comparable.prompts.index)]
    return Split(folder.name, comparable, vectors, encoder, seed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--without", action="append", default=[], metavar="EXPERT")
    parser.add_argument("--expert", action="append", metavar="EXPERT", help="to be held out")
    parser.add_argument("--probe", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--lambda", dest="lam", type=float, default=0.0)
    parser.add_argument("--confidence", type=float, default=0.5, help="see pointsman onboard")
    return parser.parse_args()


if __name__ == "__main__":
    main()
