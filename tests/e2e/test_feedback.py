"""POST /v1/feedback on the real application, and learning from it."""

from __future__ import annotations

import json

from serve.feedback import FeedbackStore


def answered(application, text, **headers):
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], "max_tokens": 2}
    status, _, got = application.post("/v1/chat/completions", body, **headers)
    assert status == 200
    return got["x-request-id"], got["x-pointsman-expert"]


def score(application, request_id, value):
    return application.post("/v1/feedback", {"request_id": request_id, "score": value})


def test_a_score_is_kept_with_what_was_asked_and_who_answered(application):
    request_id, expert = answered(application, "Is rain wet?")
    status, body, _ = score(application, request_id, 0.75)
    assert (status, body) == (200, {"request_id": request_id, "score": 0.75})
    kept, blank = FeedbackStore(application.database).scored()
    assert blank == 0
    assert (kept[-1].prompt, kept[-1].expert, kept[-1].score) == ("Is rain wet?", expert, 0.75)


def test_an_unknown_id_is_a_404_that_says_so(application):
    status, body, _ = score(application, "never-asked", 1)
    assert status == 404
    assert body["error"]["code"] == "request_not_found"
    assert body["error"]["param"] == "request_id" and "never-asked" in body["error"]["message"]


def test_a_second_score_is_a_409_and_changes_nothing(application):
    request_id, _ = answered(application, "Is snow cold?")
    assert score(application, request_id, 1)[0] == 200
    status, body, _ = score(application, request_id, 0)
    assert status == 409 and body["error"]["code"] == "feedback_exists"
    assert FeedbackStore(application.database).scored()[0][-1].score == 1


def test_a_clients_own_request_id_is_the_one_to_score(application):
    request_id, _ = answered(application, "Is fire hot?", x_request_id="mine-1")
    assert request_id == "mine-1"
    assert score(application, "mine-1", 0.5)[0] == 200


def test_a_score_outside_0_to_1_names_the_field(application):
    for value in (-0.1, 1.1, "good"):
        status, body, _ = score(application, "x", value)
        assert status == 400 and body["error"]["param"] == "score", json.dumps(body)
