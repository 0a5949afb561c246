"""Spans of real requests, as a collector gets them: test_gateway's gateway, scripted experts."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from serve.config import TracingSettings
from serve.errors import SettingsError
from serve.online import tracing
from serve.online.tracing import UNTRACED, tracer
from serve.online.upstreams.base import ExpertFailed
from tests.online.collector import OVER
from tests.online.test_dispatch import DONE, USAGE, event
from tests.online.test_gateway import Application, whole

STREAM = [event("a"), event("b"), USAGE, DONE]
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
STAGES = {"queue", "batch_wait", "tokenise", "embed", "predict", "choose"}


class Traced:
    """An application, its collector, and the spans of what was asked."""

    def __init__(self, collected, protocol, sample=1.0, headers_env=None, **application):
        self.collected = collected
        self.tracer = tracer(
            TracingSettings(
                endpoint=collected.endpoint,
                protocol=protocol,
                sample=sample,
                headers_env=headers_env,
            ),
            "replica-1",
        )
        scripts = {"small": STREAM, "large": STREAM} | application
        self.application = Application(**scripts, tracer=self.tracer)
        self.ask = self.application.ask

    def spans(self):
        """All that was sent, by name; ends the tracing."""
        self.tracer.close()
        return {span.name: span for span in self.collected.spans}

    def handed_on(self):
        """The trace contexts that experts were asked with."""
        experts = self.application.experts.values()
        return [call.trace for expert in experts for call in expert.calls]


@pytest.fixture(params=OVER)
def protocol(request):
    return request.param


@pytest.fixture
def traced():
    made, exits = [], []

    def make(protocol="http", **more):
        collector = OVER[protocol]()
        exits.append(collector)
        made.append(Traced(collector.__enter__(), protocol, **more))
        return made[-1]

    yield make
    for one in made:
        one.application.client.__exit__(None, None, None)
        one.tracer.close()
    for collector in exits:
        collector.__exit__(None, None, None)


def said(span):
    kinds = {a.key: a.value for a in span.attributes}
    return {key: getattr(value, value.WhichOneof("value")) for key, value in kinds.items()}


def within(inner, outer):
    return (
        outer.start_time_unix_nano <= inner.start_time_unix_nano
        and inner.start_time_unix_nano <= inner.end_time_unix_nano
        and inner.end_time_unix_nano <= outer.end_time_unix_nano
    )


def test_a_request_is_one_trace_with_every_stage(traced, protocol):
    setting = traced(protocol)
    asked = time.time_ns()
    assert setting.ask(stream=True, routing={"tradeoff": 1.0}, max_tokens=7).status_code == 200
    answered = time.time_ns()
    spans = setting.spans()
    assert set(spans) == {"chat auto", "decision", "chat small"} | STAGES
    assert len({span.trace_id for span in spans.values()}) == 1
    root, decision, call = (spans[name] for name in ("chat auto", "decision", "chat small"))
    assert root.parent_span_id == b"" and root.kind == root.SPAN_KIND_SERVER
    assert call.kind == call.SPAN_KIND_CLIENT
    for child, parent in [(decision, root), (call, root), *((spans[s], decision) for s in STAGES)]:
        assert child.parent_span_id == parent.span_id
        assert within(child, parent), (child.name, parent.name)
    assert asked <= root.start_time_unix_nano and root.end_time_unix_nano <= answered
    assert decision.end_time_unix_nano <= call.start_time_unix_nano
    (first,) = call.events
    assert first.name == "first token"
    assert call.start_time_unix_nano <= first.time_unix_nano <= call.end_time_unix_nano
    assert root.status.code == call.status.code == root.status.STATUS_CODE_UNSET


def test_the_root_says_what_was_asked_decided_and_paid(traced):
    setting = traced(small=[whole("small")], large=[whole("large")])
    setting.ask(routing={"tradeoff": 1.0}, max_tokens=7)
    root = said(setting.spans()["chat auto"])
    assert root["gen_ai.operation.name"] == "chat" and root["gen_ai.request.model"] == "auto"
    assert root["gen_ai.response.model"] == root["pointsman.pick"] == "small"
    assert (root["gen_ai.usage.input_tokens"], root["gen_ai.usage.output_tokens"]) == (10, 5)
    assert root["gen_ai.request.max_tokens"] == 7
    assert root["pointsman.cost_usd"] == pytest.approx(15e-6)
    assert root["pointsman.router"] == "toy@1" and root["pointsman.guarded"] is False
    assert root["pointsman.request_id"] == "r" and root["pointsman.key"] == "local"
    assert root["http.request.method"] == "POST" and root["http.response.status_code"] == 200
    assert root["url.path"] == "/v1/chat/completions"
    resource = {
        a.key: a.value.string_value for a in setting.collected.resources[0].resource.attributes
    }
    assert resource["service.name"] == "pointsman"
    assert resource["service.instance.id"] == "replica-1"


def test_a_named_expert_has_no_decision(traced):
    setting = traced()
    setting.ask(model="large", stream=True)
    setting.spans()
    root, call = sorted(setting.collected.spans, key=lambda span: span.parent_span_id)
    assert root.name == call.name == "chat large" and call.parent_span_id == root.span_id


@pytest.mark.parametrize("sample", [1.0, 0.0])
def test_it_hangs_below_its_caller_and_the_expert_below_it(traced, sample):
    """A caller's decision to trace is honoured, whatever our own share is."""
    setting = traced(sample=sample)
    headers = {"traceparent": f"00-{CALLER}-{PARENT}-01", "tracestate": "vendor=1"}
    setting.ask(stream=True, headers=headers, routing={"tradeoff": 1.0})
    spans = setting.spans()
    assert spans["chat auto"].parent_span_id.hex() == PARENT
    assert {span.trace_id.hex() for span in spans.values()} == {CALLER}
    (handed,) = setting.handed_on()
    assert handed["traceparent"] == f"00-{CALLER}-{spans['chat small'].span_id.hex()}-01"
    assert handed["tracestate"] == "vendor=1"


def test_a_caller_that_does_not_trace_is_not_traced_and_nor_is_the_engine(traced):
    setting = traced()
    setting.ask(stream=True, headers={"traceparent": f"00-{CALLER}-{PARENT}-00"})
    assert setting.spans() == {}
    (handed,) = setting.handed_on()
    assert handed["traceparent"].startswith(f"00-{CALLER}-") and handed["traceparent"][-2:] == "00"


def test_a_share_of_0_traces_nothing(traced):
    setting = traced(sample=0.0)
    for _ in range(5):
        assert setting.ask(stream=True).status_code == 200
    assert setting.spans() == {}


def test_an_expert_that_failed_is_a_span_with_its_reason(traced):
    setting = traced(large=[ExpertFailed("no route", fatal=True)])
    for i in range(8):  # until large is picked
        setting.ask(f"q{i}", stream=True, routing={"tradeoff": 0})
    spans = setting.spans()
    failed = spans["chat large"]
    assert failed.status.code == failed.status.STATUS_CODE_ERROR
    assert failed.status.message == "no route" and said(failed)["error.type"] == "ExpertFailed"
    (root,) = [s for s in setting.collected.spans if s.span_id == failed.parent_span_id]
    assert [v.string_value for v in said(root)["pointsman.tried"].values] == ["large: no route"]
    assert root.status.code == root.status.STATUS_CODE_UNSET  # small answered it


def test_a_refused_request_is_an_error(traced):
    setting = traced(max_requests=1)
    assert setting.ask(model="nobody").status_code == 404
    setting.application.gateway._under_way = 1
    assert setting.ask().status_code == 429
    setting.spans()
    errors = [(s.status.code, said(s)) for s in setting.collected.spans]
    assert {code for code, _ in errors} == {2}
    found = {(a["http.response.status_code"], a["error.type"]) for _, a in errors}
    assert found == {(404, "UnknownModel"), (429, "Overloaded")}


def test_a_stream_that_breaks_off_is_an_error(traced):
    broken = [event("a"), ExpertFailed("died", fatal=True)]
    setting = traced(small=broken, large=broken)
    assert setting.ask(stream=True).status_code == 200
    spans = setting.spans()
    root = spans.pop("chat auto")
    assert root.status.code == root.status.STATUS_CODE_ERROR and "died" in root.status.message
    (call,) = [span for name, span in spans.items() if name.startswith("chat ")]
    assert call.status.message == "died" and len(call.events) == 1


def test_the_collectors_key_is_sent(traced, protocol, monkeypatch):
    monkeypatch.setenv("COLLECTOR", "x-api-key=k1,Other=a%20b")
    setting = traced(protocol, headers_env="COLLECTOR")
    setting.ask(stream=True)
    setting.spans()
    (headers,) = setting.collected.headers
    assert headers["x-api-key"] == "k1" and headers["other"] == "a b"


def test_a_variable_that_is_not_set_is_one_line(traced, monkeypatch):
    monkeypatch.delenv("COLLECTOR", raising=False)
    with pytest.raises(SettingsError, match="^tracing.headers_env: COLLECTOR is not set"):
        traced(headers_env="COLLECTOR")


def test_without_a_collector_requests_are_answered_and_it_is_said_once(caplog, protocol):
    with socket.socket() as taken:  # bound and not listening: nothing answers there
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        made = tracer(TracingSettings(endpoint=endpoint, protocol=protocol), "r")
        application = Application(STREAM, STREAM, tracer=made)
        began = time.monotonic()
        for _ in range(20):
            assert application.ask(stream=True).status_code == 200
        assert time.monotonic() - began < 20  # a request that waited would wait 3 s, SEND_S
        application.client.__exit__(None, None, None)
        for processor in made._provider._active_span_processor._span_processors:
            for _ in range(2):
                processor.force_flush()
        made.close()
    assert caplog.text.count("takes no spans; they are dropped") == 1
    assert "Traceback" not in caplog.text


def test_without_the_setting_nothing_of_it_is_loaded():
    """What Ray and vLLM import of OpenTelemetry for themselves does not count."""
    code = """
import sys
from serve.online import books, gateway
from serve.online.tracing import UNTRACED, tracer
assert tracer(None, "r") is UNTRACED
print([name for name in sys.modules if name == "serve.online.otlp" or "exporter.otlp" in name])
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip().endswith("[]"), answer.stdout + answer.stderr
    assert UNTRACED.trace({}).asks(None) == {}


def test_without_the_packages_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "serve.online.otlp", None)
    monkeypatch.delattr("serve.online.otlp", raising=False)
    with pytest.raises(SettingsError, match=r"pip install -e '\.\[tracing\]'"):
        tracing.require_exporter()
