"""The README says what the repository does."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel

from serve import __version__
from serve.config import (
    Autoscaling,
    BatchSettings,
    ChallengerSettings,
    ExpertSettings,
    PackagedModel,
    Price,
    RecordSettings,
    RolloutSettings,
    RouterSettings,
)
from serve.offline.score import score
from serve.settings_file import read_config, settings_of


def section(text: str, start: str, end: str) -> str:
    return text.split(start)[1].split(end)[0]


def numbers(line: str) -> list[float]:
    return [float(n) for n in re.findall(r"\| +(\d[\d.]*)%? ", line)]


def test_the_results_table_is_what_make_results_prints(repository, monkeypatch):
    monkeypatch.chdir(repository)
    file = repository / "deployments/local.yaml"
    printed = score(repository / "deployments/local/table", settings_of(read_config(file), file))
    readme = (repository / "README.md").read_text()
    kept = section(readme, "<!-- results -->", "<!-- /results -->").strip().splitlines()
    assert len(kept) == len(printed.splitlines())
    for mine, line in zip(kept, printed.splitlines(), strict=True):
        assert mine.split("|")[1] == line.split("|")[1]
        # Another CPU rounds the encoder's vectors otherwise, and a pick or two may flip.
        for x, y in zip(numbers(mine), numbers(line), strict=True):
            assert x == pytest.approx(y, rel=0.03, abs=2e-4)


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (ExpertSettings, "experts[]."),
        (Price, "."),
        (Autoscaling, "."),
        (RouterSettings, "router."),
        (BatchSettings, "."),
        (PackagedModel, ""),
        (RecordSettings, "records."),
        (RolloutSettings, "user_config."),
        (ChallengerSettings, "user_config.challenger."),
    ],
)
def test_every_setting_is_in_the_reference(repository, model: type[BaseModel], prefix):
    reference = section((repository / "README.md").read_text(), "## Settings", "## What is inside")
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        assert f"`{key}" in reference or f"{key}`" in reference or f"{key}." in reference, key


def test_every_file_the_readme_names_exists(repository):
    readme = (repository / "README.md").read_text()
    for name in re.findall(r"`((?:serve|deployments|constraints)/[\w./-]+)`", readme):
        assert (repository / name).exists(), name


def test_the_changelog_knows_the_version(repository):
    assert f"## {__version__}" in (repository / "CHANGELOG.md").read_text()
    pyproject = (repository / "pyproject.toml").read_text()
    assert f'version = "{__version__}"' in pyproject
