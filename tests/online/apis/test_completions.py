from __future__ import annotations

import pytest
from ray.serve.llm.openai_api_models import CompletionRequest

from serve.config import ExpertSettings
from serve.errors import InvalidRequest
from serve.online.apis.completions import Completions

COMPLETIONS = Completions()


@pytest.mark.parametrize(
    ("model", "prompt"), [("auto", "\ud800"), ("auto", [1, 2]), (None, [1]), ("auto:fast", [1])]
)
def test_what_cannot_be_read_is_refused_with_its_field(model, prompt):
    with pytest.raises(InvalidRequest) as caught:
        COMPLETIONS.query(CompletionRequest(model=model, prompt=prompt))
    assert caught.value.param == "prompt"


def test_token_ids_go_to_the_expert_that_is_named():
    assert COMPLETIONS.query(CompletionRequest(model="e", prompt=[1, 2])).text == ""


def test_an_addressed_body_is_a_copy():
    body = CompletionRequest(model="auto", prompt=["a", "b"], stream=True)
    assert COMPLETIONS.query(body).text == "a\nb"
    sent = COMPLETIONS.address(body, ExpertSettings(id="e", model="org/model"))
    assert sent.model == "e" and sent.stream_options.include_usage
    assert body.model == "auto" and body.stream_options is None
