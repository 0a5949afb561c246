"""In place of an engine's deployment."""

from __future__ import annotations

import asyncio
import json

from ray.serve.llm.openai_api_models import ChatCompletionRequest


def event(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return f"data: {json.dumps({'choices': [choice]}, separators=(',', ':'))}\n\n"


USAGE = 'data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":3}}\n\n'
DONE = "data: [DONE]\n\n"


class FakeEngine:
    """Streams three tokens, one each half second.

    The module has imported what a request is made of before the replica says that it is there: the
    first one would wait for vLLM.
    """

    async def chat(self, body: ChatCompletionRequest, info):
        for token in "abc":
            yield event(token)
            await asyncio.sleep(0.5)
        yield USAGE
        yield DONE

    async def check_health(self):
        pass
