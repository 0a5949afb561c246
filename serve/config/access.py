"""Who may ask: API keys, and what each may take."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from serve.config.base import Section, Sha256

LOCAL = "local"
"""The name under which requests without a key are counted, where no keys are configured."""


class KeySettings(Section):
    """One API key, known by its hash alone: `pointsman key NAME` makes both.

    A hash tells nothing of a random key. Of a word that a person chose it does: it can be guessed.
    """

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", description="in logs, metrics and usage"
    )
    sha256: Sha256 = Field(description="of the key")
    admin: bool = Field(default=False, description="may read /metrics and everybody's usage")
    priority: int = Field(default=0, description="of its requests; lower is served sooner")
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="input and output together"
    )
    usd_per_day: float | None = Field(
        default=None, gt=0, description="US dollars a day (UTC), by the experts' prices"
    )
    allow: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="experts that it may use; none: all"
    )
    private: bool = Field(default=False, description="its requests never leave the edge")


class AccessSettings(Section):
    """Who may ask. Without keys, this machine alone."""

    keys: list[KeySettings] = Field(default_factory=list)
    file: str | None = Field(
        default=None, description="YAML or JSON file with more keys, such as a mounted secret"
    )
    redis: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="environment variable that holds the redis:// URL where counters are shared; "
        "none: in the Ray cluster",
    )

    @property
    def open(self) -> bool:
        """Whether no keys are configured, so that this machine alone is answered."""
        return not self.keys and self.file is None

    def unknown(self, experts: list[str]) -> str | None:
        """What is wrong with `allow`: the first that is no expert's id."""
        for key in self.keys:
            for name in key.allow or ():
                if name not in experts:
                    return f"key {key.name} allows {name!r}, which is no expert; known: {experts}"
        return None

    @model_validator(mode="after")
    def _distinct(self) -> AccessSettings:
        names = [key.name for key in self.keys]
        if len(set(names)) != len(names):
            raise ValueError(f"names of keys must be distinct, got {names}")
        if LOCAL in names:
            raise ValueError(f"a key may not be called {LOCAL!r}: that name counts no key")
        seen: dict[str, str] = {}
        for key in self.keys:
            other = seen.setdefault(key.sha256, key.name)
            if other != key.name:
                raise ValueError(f"{other} and {key.name} are the same key")
        return self
