"""Types and choices that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from serve.config import Settings

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

QUALITIES = ("bertsim", "cosine", "exact", "choice")
"""The graders of offline/asking/grade.py, without its imports."""


def whole(least: int) -> Callable[[str], int]:
    """An integer of at least so much."""

    def read(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more, got {number}")
        return number

    return read


def between(low: float, high: float) -> Callable[[str], float]:
    """A number from `low` to `high`."""

    def read(text: str) -> float:
        number = float(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"must be {low:g} to {high:g}, got {number}")
        return number

    return read


def settings_in(file: Path) -> Settings:
    """The settings of our application in a settings file.

    Raises:
        SettingsError: they are not in order.
    """
    from serve.settings_file import read_config, settings_of

    return settings_of(read_config(file), file)
