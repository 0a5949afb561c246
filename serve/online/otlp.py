"""One trace a request, by OpenTelemetry's SDK to an OTLP collector.

    chat auto                       the request, from its arrival to the last byte
    |-- decision
    |   `-- queue, batch_wait, tokenise, embed, predict, choose
    |-- chat large                  an expert that failed
    `-- chat small                  the one that answered; below it vLLM's own, where it traces

Names follow OpenTelemetry's conventions for HTTP servers and for generative AI; what they have no
name for is under pointsman. Nothing here waits for the collector: spans are sent by a thread of
their own, and dropped where it does not keep up.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers
from opentelemetry.util.types import AttributeValue

from serve import __version__
from serve.config import TracingSettings
from serve.errors import SettingsError
from serve.online.fleet import Lease
from serve.online.stages import Span as Stage
from serve.online.story import Story

logger = logging.getLogger("ray.serve")

SEND_S = 3.0
"""That one batch may take, its retries among them; a stop may wait for four."""

_W3C = TraceContextTextMapPropagator()
_OPERATIONS = {"completions": "text_completion"}
"""Of gen_ai.operation.name, by the method of an endpoint; the others' is chat."""


class OtlpTracer:
    """See tracing.Tracer.

    Args:
        settings: where spans go.
        replica: of the ingress.

    Raises:
        SettingsError: the variable that should hold the headers is not set.
    """

    def __init__(self, settings: TracingSettings, replica: str) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample)),
            resource=Resource.create(
                {
                    "service.name": "pointsman",
                    "service.version": __version__,
                    "service.instance.id": replica,
                }
            ),
            shutdown_on_exit=False,
        )
        # What they say again and again while a collector is away, _Told says once.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        told = _Told(_exporter(settings), settings.endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(told))
        self._tracer = self._provider.get_tracer("pointsman", __version__)

    def trace(self, headers: Mapping[str, str]) -> OtlpTrace:
        """See tracing.Tracer."""
        return OtlpTrace(self._tracer, _W3C.extract(headers, Context()))

    def close(self) -> None:
        """See tracing.Tracer."""
        self._provider.shutdown()


class OtlpTrace:
    """See tracing.Trace. Only what an expert must name as its parent is a span before the end.

    Args:
        tracer: makes spans.
        caller: the trace context that the request came with.
    """

    def __init__(self, tracer: Tracer, caller: Context) -> None:
        self._tracer = tracer
        now = time.time_ns()
        self._since_perf = now - time.perf_counter_ns()
        self._since_monotonic = now - time.monotonic_ns()
        self._root = tracer.start_span("request", caller, SpanKind.SERVER, start_time=now)
        self._context = set_span_in_context(self._root, Context())
        self._asked: list[tuple[Lease, Span]] = []

    def asks(self, lease: Lease) -> Mapping[str, str]:
        """See tracing.Trace."""
        began = self._of_lease(lease.started)
        span = self._tracer.start_span("ask", self._context, SpanKind.CLIENT, start_time=began)
        self._asked.append((lease, span))
        headers: dict[str, str] = {}
        _W3C.inject(headers, set_span_in_context(span, Context()))
        return headers

    def over(self, story: Story) -> None:
        """See tracing.Trace."""
        if not self._root.is_recording():
            return
        operation = _OPERATIONS.get(story.api.method, "chat")
        if story.ruling is not None:
            self._decided(story)
        for lease, span in self._asked:
            self._ended(lease, span, operation)
        opened = story.opened
        model = "auto" if story.ruling is not None else opened and opened.expert
        self._root.update_name(f"{operation} {model}" if model else operation)
        self._root.set_attributes(_attributes(story, operation))
        if story.error is not None:
            # OpenTelemetry leaves a server's 4xx unset. Here a 429 is the server's own doing, and
            # who looks for what went wrong looks for errors.
            _fail(self._root, str(story.error), type(story.error).__name__)
        self._root.end(self._of_perf(time.perf_counter()))

    def _decided(self, story: Story) -> None:
        began = story.stages.began
        decision = self._past(self._context, Stage("decision", began, began + story.decided_s))
        within = set_span_in_context(decision, Context())
        for stage in story.stages.spans:
            self._past(within, stage)

    def _past(self, context: Context, stage: Stage) -> Span:
        """What is over already."""
        span = self._tracer.start_span(stage.stage, context, start_time=self._of_perf(stage.begin))
        span.end(self._of_perf(stage.end))
        return span

    def _ended(self, lease: Lease, span: Span, operation: str) -> None:
        expert = lease.member.settings.id
        span.update_name(f"{operation} {expert}")
        span.set_attributes({"gen_ai.operation.name": operation, "gen_ai.request.model": expert})
        if lease.first is not None:
            span.add_event("first token", timestamp=self._of_lease(lease.first))
        if lease.failure is not None:
            _fail(span, lease.failure, "ExpertFailed")
        span.end(self._of_lease(lease.ended or time.monotonic()))

    def _of_perf(self, seconds: float) -> int:
        """time.perf_counter() -> nanoseconds since 1970."""
        return round(seconds * 1e9) + self._since_perf

    def _of_lease(self, seconds: float) -> int:
        """time.monotonic() -> nanoseconds since 1970."""
        return round(seconds * 1e9) + self._since_monotonic


class _Told(SpanExporter):
    """Another exporter, whose trouble is said once, and its end."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, on the processor's thread."""
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            logger.warning(f"tracing.endpoint: {self._endpoint} takes no spans; they are dropped")
        if self._failing and not failed:
            logger.warning(f"tracing.endpoint: {self._endpoint} takes spans again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """No more come."""
        self._exporter.shutdown()


def _exporter(settings: TracingSettings) -> SpanExporter:
    headers: Mapping[str, str] = {}
    if settings.headers_env is not None:
        if settings.headers_env not in os.environ:
            raise SettingsError(
                f"tracing.headers_env: {settings.headers_env} is not set in the environment of "
                "the ingress"
            )
        headers = parse_env_headers(os.environ[settings.headers_env], liberal=True)
    if settings.protocol == "grpc":
        return GrpcExporter(settings.endpoint, headers=dict(headers), timeout=SEND_S)
    url = settings.endpoint.rstrip("/") + "/v1/traces"
    return HttpExporter(url, headers=headers, timeout=SEND_S)


def _fail(span: Span, reason: str, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, reason)


def _attributes(story: Story, operation: str) -> dict[str, AttributeValue]:
    return {name: value for name, value in _said(story, operation) if value is not None}


def _said(story: Story, operation: str) -> Iterable[tuple[str, AttributeValue | None]]:
    yield "http.request.method", story.request.method
    yield "http.response.status_code", story.status
    yield "url.path", story.request.url.path
    yield "gen_ai.operation.name", operation
    yield "pointsman.request_id", story.request.headers.get("x-request-id")
    if story.read is not None:
        yield "gen_ai.request.model", story.read.model
        yield "gen_ai.request.max_tokens", story.read.query.max_output_tokens
        yield "pointsman.key", story.read.caller.name
    if story.ruling is not None:
        decision = story.ruling.acting
        yield "pointsman.router", decision.router
        yield "pointsman.objective", decision.objective
        yield "pointsman.guarded", decision.guarded
        yield "pointsman.novelty", decision.novelty
        yield "pointsman.pick", decision.pick.expert
    if story.opened is not None:
        yield "gen_ai.response.model", story.opened.expert
        yield "pointsman.tried", [f"{name}: {reason}" for name, reason in story.opened.tried]
        yield "pointsman.cascade", story.cascade
    if story.account is not None and story.read is not None:
        usage = story.account.taken(story.read.query.input_tokens)
        yield "gen_ai.usage.input_tokens", usage.input_tokens
        yield "gen_ai.usage.output_tokens", usage.output_tokens
        yield "pointsman.cost_usd", (story.account.bill or story.account.billed(usage)).cost_usd
