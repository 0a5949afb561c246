"""`pointsman onboard`: a new expert joins a trained router for the price of a few hundred answers.

UniRoute's promise (arXiv 2502.08773): what is known of an expert is its answers to representative
prompts, so nothing is trained again. Its answers make one more column of the predictor, extend the
guard and go into the probes of the new artifact.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from pydantic import ValidationError

from serve.config import MINILM, ExpertSettings, ModelRef, describe
from serve.errors import SettingsError
from serve.offline.asking.ask import Endpoint, Limits
from serve.offline.pool.artifact import load_pool, save_pool
from serve.offline.pool.change import with_expert
from serve.offline.pool.guard_change import CONFIDENCE
from serve.offline.pool.probing import answered
from serve.offline.pool.report import report

MAX_TOKENS = 96
"""Of an answer, where the training table does not say what its experts were allowed."""


@dataclass(frozen=True)
class Asking:
    """How the new expert is asked and graded.

    Attributes:
        served: opens an endpoint that serves it under its id, for as long as it is asked.
        probes: how many prompts to ask it.
        grader: see asking/grade.py; None: the training table's.
        encoder: of a grader that compares meanings.
        concurrency: requests under way at once.
        max_tokens: limit of an answer; None: the training table's.
        confidence: at which the probes must vouch for the change, see guard_change.py.
    """

    served: AbstractContextManager[Endpoint]
    probes: int = 200
    grader: str | None = None
    encoder: ModelRef = MINILM
    concurrency: int = 16
    max_tokens: int | None = None
    confidence: float = CONFIDENCE


def onboard(file: Path, folder: Path, out: Path, asking: Asking, *, lam: float = 0.0) -> str:
    """Write the artifact of the larger pool; what there is to say of the new expert.

    Args:
        file: the expert, as one of `experts` in a settings file.
        folder: of the artifact.
        out: folder of the new one.
        asking: how to measure it.
        lam: lambda at which traffic and change are reported.

    Raises:
        SettingsError: the file is not in order, the router has this expert, or it did not answer.
        ArtifactError: the pool of this artifact cannot change.
    """
    settings = read_expert(file)
    loaded, pool = load_pool(folder)
    expert = settings.as_expert()
    if expert.id in pool.predictor.experts:
        raise SettingsError(
            f"{file}: the router has an expert {expert.id!r} already; retire that one first, or "
            "give this one an id of its own"
        )
    asked = pool.probes.rows(np.arange(min(asking.probes, len(pool.probes.vectors))))
    limit = asking.max_tokens or int(asked.table.meta.get("max_tokens", MAX_TOKENS))
    with asking.served as endpoint:
        new = answered(
            asked,
            expert,
            endpoint,
            Limits(asking.concurrency, limit, likelihood=False),
            grader=asking.grader,
            encoder=asking.encoder,
        )
    grown = with_expert(pool, new, asking.confidence)
    trained = {"onboarded": expert.id, "probes": len(new.rows)}
    saved = save_pool(out, loaded, grown, trained)
    entry = yaml.safe_load(file.read_text())
    return report(pool, grown, new, lam, asking.confidence) + _settings(
        entry, out, loaded.label, saved.label
    )


def read_expert(file: Path) -> ExpertSettings:
    """One expert, as it stands in `experts` of a settings file.

    Raises:
        SettingsError: one line that names the key and what is allowed.
    """
    try:
        return ExpertSettings.model_validate(yaml.safe_load(file.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise SettingsError(f"{file}: {describe(error, ExpertSettings)}") from None


def _settings(entry: object, out: Path, before: str, after: str) -> str:
    lines = yaml.safe_dump([entry], sort_keys=False).splitlines()
    return "\n".join(
        [
            "\n",
            f"{out}: router {after}, made from {before}. To serve it, in the settings:",
            "",
            "      experts:  # one more",
            *(f"        {line}" for line in lines),
            "      router:",
            f"        artifact: {out}",
            "",
        ]
    )
