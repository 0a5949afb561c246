"""The HTTP surface against its own OpenAPI document: no 500, no hang, every error in form."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import EXPERTS

CASES = int(os.environ.get("POINTSMAN_FUZZ_CASES", "300"))
"""`make fuzz` has 2,000."""
CASE_TIMEOUT_S = 30
TOKENS = 2
"""An answer may have: two experts share two cores."""

LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens")
MODELS = ["auto", *EXPERTS]


def cheap(body: Any) -> Any:
    """The same body, its answer short; and three of four times for a model that there is."""
    if not isinstance(body, dict):
        return body
    limits = [name for name in LIMITS if type(body.get(name)) in (int, float)]
    body |= {name: min(body[name], TOKENS) for name in limits}
    for name in ("n", "best_of"):
        if type(body.get(name)) in (int, float):
            body[name] = min(body[name], 2)
    limit = "max_output_tokens" if "input" in body else "max_tokens"
    if body.get(limit) is None:
        body[limit] = TOKENS
    given = len(repr(body))
    return body if given % 4 == 0 else body | {"model": MODELS[given % len(MODELS)]}


def in_form(error: Any, path: str) -> bool:
    """Whether it is OpenAI's or, on Anthropic's paths, Anthropic's."""
    if path.startswith("/v1/messages"):
        return set(error) == {"type", "error"} and set(error["error"]) == {"type", "message"}
    return set(error) == {"error"} and set(error["error"]) == {"message", "type", "param", "code"}


def check(case: schemathesis.Case) -> None:
    case.body = cheap(case.body)
    answer = case.call(timeout=CASE_TIMEOUT_S)
    said = f"{case.method} {case.path} {case.body!r}: {answer.status_code} {answer.text[:500]}"
    assert answer.status_code < 500 or answer.status_code == 501, said
    if answer.status_code >= 400:
        assert in_form(answer.json(), case.path), said
    elif "text/event-stream" in str(answer.headers.get("content-type")):
        told = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
        assert told and all(isinstance(json.loads(d), dict) for d in told if d != "[DONE]"), said


@pytest.mark.timeout(1800)
def test_nothing_that_the_document_allows_or_forbids_breaks_the_surface(application):
    schema = schemathesis.openapi.from_url(f"{application.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    posts = [operation for operation in operations if operation.method == "post"]
    assert len(posts) >= 10

    def cases(operation):
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        return st.one_of(operation.as_strategy(generation_mode=mode) for mode in modes)

    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from([*posts * 4, *operations]).flatmap(cases))
    def every(case):
        check(case)

    every()
