"""What one ingress replica takes on at once, and how long it waits."""

from __future__ import annotations

from pydantic import Field

from serve.config.base import Section


class LimitSettings(Section):
    """Bounds of the request path; each of every ingress replica by itself."""

    max_requests: int = Field(
        default=1024, ge=1, description="under way at once, of all experts; more: 429"
    )
    body_bytes: int = Field(
        default=16 * 2**20, ge=1024, description="of a request; more: 413, and it is not read"
    )
    prompt_characters: int = Field(
        default=2_000_000, ge=1, description="of a prompt's text; more: 413, before it is embedded"
    )
    timeout_s: float = Field(
        default=600, gt=0, description="for an answer to be whole, where the request says nothing"
    )
    first_token_s: float = Field(
        default=60, gt=0, description="for a stream's first token; then the next expert is asked"
    )
    stall_s: float = Field(
        default=60, gt=0, description="between two tokens of a stream; then it ends in an error"
    )
    attempts: int = Field(default=3, ge=1, description="experts that one request may ask")
    failures: int = Field(
        default=3, ge=1, description="of an expert in a row, until no more requests go to it"
    )
    cooldown_s: float = Field(
        default=5, gt=0, description="until a failed expert is probed; doubles up to 60"
    )
