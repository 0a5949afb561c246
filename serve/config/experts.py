"""The experts: what each is, where it runs, what it costs, what it can do."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from serve.config.base import Autoscaling, Resources, Section
from serve.config.models import ModelRef
from serve.protocol import Expert
from serve.terms import Abilities


class Price(Section):
    """US dollars per million tokens."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class ChatDefaults(Section):
    """Chat fields of an expert where the client gives none; `stop` is added to the client's."""

    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    repetition_penalty: float | None = Field(default=None, gt=0)
    stop: list[str] = Field(default_factory=list)


class RemoteSettings(Section):
    """An OpenAI-compatible endpoint that runs elsewhere; answers chats and completions."""

    url: str = Field(pattern=r"^https?://", description="base URL, with /v1")
    model: str | None = Field(default=None, description="its name there; none: the expert's id")
    api_key_env: str | None = Field(
        default=None, description="environment variable that holds its key; none: no key"
    )
    connect_s: float = Field(default=5.0, gt=0, description="seconds to connect, at most")


class AbilitySettings(Section):
    """What an expert can take and do, where its engine arguments and model do not say it."""

    context: int | None = Field(
        default=None, ge=1, description="tokens; none: max_model_len, or what the model has"
    )
    images: bool | None = Field(default=None, description="none: as the model's config says")
    audio: bool | None = Field(default=None, description="none: as the model's config says")
    tools: bool | None = Field(default=None, description="none: enable_auto_tool_choice")
    structured: bool = Field(default=True, description="response_format")
    logprobs: bool = Field(default=True, description="token log-probabilities")


class ReplicaChoice(Section):
    """Which replica of an expert answers: one of Ray Serve's own request routers."""

    by: Literal["load", "session", "prefix"] = Field(
        default="load",
        description="load: the shorter of two queues; session: x-session-id keeps the replica; "
        "prefix: the replica that knows the longest prefix",
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="of that request router, as Ray Serve documents them"
    )


class ExpertSettings(Section):
    """One expert: a vLLM engine behind a Ray Serve LLM deployment, or an endpoint elsewhere."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", description="the name clients use")
    model: ModelRef | None = Field(
        default=None, description="Hugging Face id, local directory, or a packaged model"
    )
    remote: RemoteSettings | None = Field(default=None, description="in place of model")
    price: Price = Price()
    abilities: AbilitySettings = AbilitySettings()
    max_requests: int = Field(
        default=256, ge=1, description="under way at once, of each ingress replica; more: 429"
    )
    replica: ReplicaChoice = ReplicaChoice()
    accelerator_type: str | None = Field(
        default=None, description="Ray's name of the GPU (L4, A10G, H100, ...); none: the CPU"
    )
    cpus: float = Field(default=1.0, gt=0, description="CPU cores reserved for each replica")
    resources: Resources = Field(
        default_factory=dict,
        description="custom Ray resources that each replica takes: those of a pool of nodes",
    )
    autoscaling: Autoscaling = Autoscaling()
    engine: dict[str, Any] = Field(
        default_factory=dict,
        description="vLLM engine arguments (max_model_len, tensor_parallel_size, ...)",
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="environment of the engine process; no secrets"
    )
    defaults: ChatDefaults = ChatDefaults()

    @model_validator(mode="after")
    def _one_place(self) -> ExpertSettings:
        if (self.model is None) == (self.remote is None):
            raise ValueError("needs model, or remote in its place")
        return self

    @property
    def here(self) -> ModelRef:
        """Its model, of an expert that runs here."""
        if self.model is None:
            raise ValueError(f"{self.id} is remote")
        return self.model

    @property
    def there(self) -> RemoteSettings:
        """Its endpoint, of an expert that runs elsewhere."""
        if self.remote is None:
            raise ValueError(f"{self.id} is not remote")
        return self.remote

    def as_expert(self, abilities: Abilities | None = None) -> Expert:
        """What routing needs to know of it."""
        return Expert(
            self.id,
            self.price.input,
            self.price.output,
            abilities or Abilities(),
            local=self.remote is None,
        )
