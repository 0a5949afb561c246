"""What pointsman needs of Ray Serve LLM that Ray has not made public. The only private imports."""

from ray.llm._internal.common.callbacks.base import CallbackBase
from ray.llm._internal.serve.core.configs.openai_api_models import (
    ErrorInfo,
    ErrorResponse,
    ModelCard,
    OpenAIHTTPException,
)
from ray.llm._internal.serve.core.ingress.utils import (
    _sanitize_chat_completion_request as plain_lists,
)

__all__ = [
    "ErrorInfo",
    "ErrorResponse",
    "ModelCard",
    "NoDownload",
    "OpenAIHTTPException",
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
