"""What is told of a request of the running application: its trace, and pointsman explain."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

CALLER, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = {"queue", "batch_wait", "tokenise", "embed", "predict", "choose"}
EXPORTED_S = 30.0
"""Spans are sent in batches, every 5 s."""
BODY = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Which river flows through Vienna?"}],
    "max_tokens": 8,
}


def test_a_request_is_one_trace_below_its_caller_s(application, collected):
    context = f"00-{CALLER}-{PARENT}-01"
    status, _, headers = application.post("/v1/chat/completions", BODY, traceparent=context)
    assert status == 200
    until = time.monotonic() + EXPORTED_S
    while not (own := [s for s in collected.spans if s.trace_id.hex() == CALLER]):
        assert time.monotonic() < until
        time.sleep(0.2)
    by_name = {span.name: span for span in own}
    assert set(by_name) >= STAGES | {"decision"}
    (root,) = (span for span in own if span.parent_span_id.hex() == PARENT)
    told = {attribute.key: attribute.value.string_value for attribute in root.attributes}
    assert told["gen_ai.response.model"] == headers["x-pointsman-expert"]
    for span in own:
        assert root.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano


def test_the_log_explains_an_answer(application):
    status, _, headers = application.post("/v1/chat/completions", BODY)
    assert status == 200
    pointsman = Path(sys.executable).with_name("pointsman")
    words = [pointsman, "explain", headers["x-request-id"], "--log", application.log]
    until = time.monotonic() + EXPORTED_S
    while (said := subprocess.run(words, capture_output=True, text=True)).returncode:
        assert time.monotonic() < until, said.stderr
    for part in (
        f"Decided by {headers['x-pointsman-router']}",
        f"{headers['x-pointsman-expert']} answered",
        "What would have put another first",
    ):
        assert part in said.stdout
