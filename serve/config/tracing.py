"""Where spans of requests go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serve.config.base import Section


class TracingSettings(Section):
    """An OpenTelemetry collector, or whatever else takes OTLP."""

    endpoint: str = Field(
        pattern=r"^https?://[^/]+", description="base URL: http://127.0.0.1:4318; of grpc, :4317"
    )
    protocol: Literal["http", "grpc"] = Field(
        default="http", description="http: protobuf to ENDPOINT/v1/traces"
    )
    sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the requests that is traced; one that comes with a traceparent is "
        "traced where its caller is",
    )
    headers_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="environment variable that holds headers for the collector: NAME=VALUE,...",
    )
