"""What a request says of its routing: its model's name, x-pointsman-* headers, a `routing` field.

The field goes before the header of the same name, the header before what the name stands for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve.config import Preference
from serve.errors import InvalidRequest, UnknownModel
from serve.protocol import AUTO
from serve.terms import Wish

PREFIX = "x-pointsman-"
_LISTS = ("allow", "deny", "tags")


class RoutingRequest(BaseModel):
    """The `routing` field of a body; as headers, x-pointsman-max-cost-usd and so on."""

    model_config = ConfigDict(extra="forbid")

    tradeoff: float | None = Field(default=None, ge=0, le=1)
    max_cost_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    max_latency_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    allow: list[str] | None = None
    deny: list[str] | None = None
    private: bool | None = None
    tags: list[str] | None = None
    explain: bool | None = None


def is_routed(model: str | None) -> bool:
    """Whether a model's name asks the router."""
    return model is None or model == AUTO or model.startswith(f"{AUTO}:")


def take_routing(body: BaseModel) -> Any:
    """The `routing` field, taken out of a body: no engine knows it."""
    extra = body.__pydantic_extra__
    if not extra or "routing" not in extra:
        return None
    body.model_fields_set.discard("routing")
    return extra.pop("routing")


def read_wish(
    model: str | None,
    field: Any,
    headers: Mapping[str, str],
    preferences: Mapping[str, Preference],
    private_tags: Collection[str] = (),
) -> tuple[Wish, bool]:
    """The wish, and whether the whole decision is to be explained.

    Args:
        model: of the body.
        field: the body's `routing`, as it came.
        headers: lower case.
        preferences: of the settings, for what stands behind `auto:`.
        private_tags: of the settings; a request that carries one is private.

    Raises:
        UnknownModel: no such preference.
        InvalidRequest: a field or a header says what it may not; `param` names it.
    """
    preference = _preference(model, preferences)
    said = _checked(_of_headers(headers), PREFIX, "-")
    if field is not None:
        if not isinstance(field, dict):
            raise InvalidRequest("routing: must be an object", param="routing")
        said = said.model_copy(
            update=_checked(field, "routing.", "_").model_dump(exclude_unset=True)
        )
    latency = said.max_latency_s
    wish = Wish(
        tradeoff=preference.tradeoff if said.tradeoff is None else said.tradeoff,
        fastest=preference.fastest and said.tradeoff is None,
        max_cost_usd=said.max_cost_usd,
        max_latency_s=preference.max_latency_s if latency is None else latency,
        allow=None if said.allow is None else frozenset(said.allow),
        deny=frozenset(said.deny or ()),
        private=bool(said.private or set(said.tags or ()) & set(private_tags)),
    )
    return wish, bool(said.explain)


def _preference(model: str | None, preferences: Mapping[str, Preference]) -> Preference:
    if model is None or not model.startswith(f"{AUTO}:"):
        return Preference()
    name = model.removeprefix(f"{AUTO}:")
    if name not in preferences:
        known = ", ".join(f"{AUTO}:{name}" for name in preferences)
        raise UnknownModel(
            f"The model {model!r} does not exist; preferences: {known}", param="model"
        )
    return preferences[name]


def _of_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in RoutingRequest.model_fields:
        text = headers.get(PREFIX + name.replace("_", "-"))
        if text is not None:
            split = [part.strip() for part in text.split(",") if part.strip()]
            found[name] = split if name in _LISTS else text
    return found


def _checked(said: dict[str, Any], where: str, dash: str) -> RoutingRequest:
    try:
        return RoutingRequest.model_validate(said)
    except ValidationError as error:
        mistake = error.errors(include_url=False)[0]
        param = where + str(mistake["loc"][0]).replace("_", dash)
        raise InvalidRequest(f"{param}: {mistake['msg']}", param=param) from None
