"""What pointsman needs of Ray Serve LLM that Ray has not made public.

The only private imports, with those of ray_node.py.
"""

from typing import Any

from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ErrorInfo,
    ErrorResponse,
    OpenAIHTTPException,
)
from ray.llm._internal.serve.core.ingress.utils import (
    _sanitize_chat_completion_request as plain_lists,
)
from ray.llm._internal.serve.core.protocol import RawRequestInfo

__all__ = [
    "ErrorInfo",
    "ErrorResponse",
    "NoDownload",
    "OpenAIHTTPException",
    "RawRequestInfo",
    "app_state",
    "engine_client",
    "plain_lists",
]


class NoDownload(CallbackBase):  # type: ignore[misc]
    """Skips the download task of a model that is a local directory already.

    The task does nothing then but import vLLM in one more process: 10 s and more of a start on two
    cores, for each expert.
    """

    async def on_before_node_init(self) -> None:
        """Called by the engine before the task would be sent."""
        self.ctx.run_init_node = False


def app_state(engine: Any) -> Any:
    """The state of vLLM's own HTTP application: its serving objects, by vLLM's names.

    Ray's engine keeps it for its own ASGI application; of its endpoints Ray itself calls a few.
    """
    return engine._app_state


def engine_client(engine: Any) -> Any:
    """vLLM's own engine client, an AsyncLLM, of which Ray's engine is a shell."""
    return engine._engine_client
