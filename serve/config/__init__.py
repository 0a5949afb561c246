"""What a file in deployments/ may say: frozen, unknown keys refused, one line for each mistake.

The file itself is Ray Serve's own config format; this is the schema of `args` of the application
whose import_path is serve.app:build. README's settings reference is this package.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from serve.config.access import LOCAL, AccessSettings, KeySettings
from serve.config.base import Autoscaling, IngressScaling, Section
from serve.config.cascade import CascadeSettings
from serve.config.experts import (
    AbilitySettings,
    ChatDefaults,
    ExpertSettings,
    Price,
    RemoteSettings,
    ReplicaChoice,
)
from serve.config.limits import LimitSettings
from serve.config.models import MINILM, ModelRef, PackagedModel
from serve.config.records import RecordSettings
from serve.config.router import (
    BatchSettings,
    ChallengerSettings,
    Preference,
    RolloutSettings,
    RouterSettings,
)
from serve.config.tracing import TracingSettings
from serve.errors import SettingsError
from serve.protocol import AUTO

__all__ = [
    "LOCAL",
    "MINILM",
    "AbilitySettings",
    "AccessSettings",
    "Autoscaling",
    "BatchSettings",
    "CascadeSettings",
    "ChallengerSettings",
    "ChatDefaults",
    "ExpertSettings",
    "IngressScaling",
    "KeySettings",
    "LimitSettings",
    "ModelRef",
    "PackagedModel",
    "Preference",
    "Price",
    "RecordSettings",
    "RemoteSettings",
    "ReplicaChoice",
    "RolloutSettings",
    "RouterSettings",
    "Settings",
    "TracingSettings",
    "describe",
    "parse",
    "parse_settings",
]

_AnySection = TypeVar("_AnySection", bound=Section)


class Settings(Section):
    """The whole application."""

    experts: Annotated[list[ExpertSettings], Field(min_length=1)]
    router: RouterSettings
    limits: LimitSettings = LimitSettings()
    records: RecordSettings = RecordSettings()
    access: AccessSettings = AccessSettings()
    tracing: TracingSettings | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Settings:
        ids = [expert.id for expert in self.experts]
        if len(set(ids)) != len(ids):
            raise ValueError(f"expert ids must be distinct, got {ids}")
        if any(name == AUTO or name.startswith(f"{AUTO}:") for name in ids):
            raise ValueError(f"an expert may not be called {AUTO!r}: that name asks the router")
        wrong = self.access.unknown(ids)
        if wrong:
            raise ValueError(f"access: {wrong}")
        return self

    @model_validator(mode="after")
    def _cascade_of_experts(self) -> Settings:
        cascade = self.router.cascade
        if cascade is None:
            return self
        ids = [expert.id for expert in self.experts]
        strangers = [name for name in cascade.tiers if name not in ids]
        if strangers:
            raise ValueError(
                f"router.cascade.tiers: {strangers[0]!r} is no expert; known: {', '.join(ids)}"
            )
        if cascade.signal == "predicted_quality" and self.router.artifact is None:
            raise ValueError(
                "router.cascade.signal: predicted_quality is a router's; name router.artifact"
            )
        return self


def parse_settings(raw: object, where: str) -> Settings:
    """Validate the `args` of an application.

    Raises:
        SettingsError: one line that names the place, the key and what is allowed.
    """
    return parse(Settings, raw, where)


def parse(schema: type[_AnySection], raw: object, where: str) -> _AnySection:
    """Validate one section.

    Raises:
        SettingsError: one line that names the place, the key and what is allowed.
    """
    try:
        return schema.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(f"{where}: {describe(error, schema)}") from None


def describe(error: ValidationError, schema: type[BaseModel] = Settings) -> str:
    """The first mistake as `key: what is allowed`, and how many more there are.

    Args:
        error: what pydantic found.
        schema: what was validated; of this file, the allowed keys are told beside an unknown one.
    """
    mistakes = error.errors(include_url=False, include_context=False)
    first = mistakes[0]
    keys = [str(part) for part in first["loc"] if not _is_union_tag(part)]
    where = ".".join(keys) or "args"
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden" and issubclass(schema, Section):
        text = f"unknown key; allowed here: {', '.join(_allowed(keys[:-1], schema))}"
    elif first["type"] != "missing" and not _is_secret(keys, first["input"], schema):
        text += f", got {first['input']!r}"
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return f"{where}: {text}{more}"


def _is_secret(keys: list[str], value: object, schema: type[BaseModel]) -> bool:
    """Whether to leave a wrong value untold: a key may stand where its hash should."""
    return isinstance(value, dict) or schema is AccessSettings or keys[:1] == ["access"]


def _is_union_tag(part: object) -> bool:
    return part in ("str", "PackagedModel")


def _allowed(keys: list[str], top: type[BaseModel]) -> list[str]:
    """Names of the keys that the section at this path may hold."""
    named = [key for key in keys if not key.isdigit()]
    if "preferences" in named[:-1]:
        named = ["preferences"]
    model = _SECTIONS[named[-1]] if named else top
    return [field.alias or name for name, field in model.model_fields.items()]


_SECTIONS: dict[str, type[BaseModel]] = {
    "experts": ExpertSettings,
    "router": RouterSettings,
    "model": PackagedModel,
    "encoder": PackagedModel,
    "price": Price,
    "defaults": ChatDefaults,
    "autoscaling": Autoscaling,
    "replicas": IngressScaling,
    "batch": BatchSettings,
    "cascade": CascadeSettings,
    "records": RecordSettings,
    "limits": LimitSettings,
    "remote": RemoteSettings,
    "abilities": AbilitySettings,
    "replica": ReplicaChoice,
    "preferences": Preference,
    "access": AccessSettings,
    "keys": KeySettings,
    "challenger": ChallengerSettings,
    "tracing": TracingSettings,
}
