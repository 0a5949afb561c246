"""The bodies of our own endpoints."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve.errors import InvalidRequest
from serve.feedback import MAX_ID
from serve.online.apis.base import Api
from serve.online.apis.chat import ChatRequest
from serve.online.apis.completions import CompletionBody


class RouteRequest(BaseModel):
    """A chat or completion body, as the endpoint of either takes it."""

    model_config = ConfigDict(extra="allow")

    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None

    def asked(self, chat: Api, completions: Api) -> tuple[Api, BaseModel]:
        """Which endpoint it is for, and the body as that endpoint reads it.

        Raises:
            InvalidRequest: it is for neither, or malformed.
        """
        if not self.messages and self.prompt is None:
            raise InvalidRequest("messages or prompt is required", param="messages")
        schema = ChatRequest if self.messages else CompletionBody
        try:
            body = schema.model_validate(self.model_dump(exclude_unset=True))
        except ValidationError as error:
            mistake = error.errors(include_url=False, include_context=False)[0]
            param = str(mistake["loc"][0]) if mistake["loc"] else None
            raise InvalidRequest(f"{param}: {mistake['msg']}", param=param) from None
        return (chat if self.messages else completions), body


class FeedbackRequest(BaseModel):
    """What an answer was worth to whoever asked."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(min_length=1, max_length=MAX_ID)
    score: float = Field(ge=0, le=1)
