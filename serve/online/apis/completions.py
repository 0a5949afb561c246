"""POST /v1/completions."""

from __future__ import annotations

from typing import Any

from ray.serve.llm.openai_api_models import CompletionRequest

from serve.config import ExpertSettings
from serve.encoding.prompt import completion_query
from serve.errors import InvalidRequest
from serve.online.apis.openai import OpenAiForm, Readable, require_text, with_usage
from serve.online.wish import is_routed
from serve.protocol import Query
from serve.terms import Needs


class CompletionBody(Readable, CompletionRequest):  # type: ignore[misc]
    """Body of a completion."""


class Completions(OpenAiForm):
    """See base.Api."""

    method = "completions"
    path = "/completions"

    def query(self, body: CompletionBody) -> Query:
        """See base.Api.

        Raises:
            InvalidRequest: token ids for model auto, or text that is not Unicode.
        """
        query = completion_query(_text(body), body.max_tokens)
        require_text(query.text, "prompt")
        return query

    def turns(self, body: CompletionBody) -> list[Any]:
        """See base.Api."""
        return []

    def needs(self, body: CompletionBody) -> Needs:
        """See base.Api."""
        form = body.response_format
        return Needs(
            structured=form is not None and form.type != "text",
            logprobs=body.logprobs is not None,
        )

    def begun(self, text: str) -> bool:
        """See base.Api."""
        return '"choices":[{' in text

    def address(self, body: CompletionBody, expert: ExpertSettings) -> Any:
        """See base.Api."""
        return body.model_copy(update={"model": expert.id, "stream_options": with_usage(body)})


def _text(body: CompletionBody) -> str:
    prompt = body.prompt
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(isinstance(part, str) for part in prompt):
        return "\n".join(prompt)
    if is_routed(body.model):
        raise InvalidRequest(
            "prompt must be text for model auto: token ids belong to one expert's tokenizer",
            param="prompt",
        )
    return ""
