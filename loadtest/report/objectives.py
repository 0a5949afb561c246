"""What is wanted of a load: a YAML file of limits, and whether each is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from loadtest.report.measures import AT_LEAST, MEASURES, Slo
from serve.config import Price, describe
from serve.errors import SettingsError


class Objectives(BaseModel):
    """A file of objectives.

    Attributes:
        objectives: measure -> at most, or for those in AT_LEAST at least, that much.
        slo: what a good answer is, for goodput.
        prices: by model, where the endpoint does not say what an answer cost.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    objectives: dict[str, Annotated[float, Field(ge=0)]]
    slo: Slo = Slo()
    prices: dict[str, Price] = Field(default_factory=dict)

    @field_validator("objectives")
    @classmethod
    def _known(cls, objectives: dict[str, float]) -> dict[str, float]:
        for name in objectives:
            if name not in MEASURES:
                raise ValueError(f"{name} is not measured; these are: {', '.join(MEASURES)}")
        return objectives


@dataclass(frozen=True)
class Verdict:
    """One objective; `measured` None: nothing was, which is not meeting it."""

    name: str
    limit: float
    measured: float | None

    @property
    def met(self) -> bool:
        """Whether it was measured and is within the limit."""
        if self.measured is None:
            return False
        if self.name in AT_LEAST:
            return self.measured >= self.limit
        return self.measured <= self.limit


def read(file: Path) -> Objectives:
    """A file of objectives.

    Raises:
        SettingsError: it cannot be read, or a name or a value in it is wrong.
    """
    try:
        return Objectives.model_validate(yaml.safe_load(file.read_text()) or {})
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise SettingsError(f"{file}: {describe(error, Objectives)}") from None


def judge(limits: Mapping[str, float], measured: Mapping[str, float | None]) -> list[Verdict]:
    """A verdict on each limit, in their order."""
    return [Verdict(name, limit, measured[name]) for name, limit in limits.items()]
