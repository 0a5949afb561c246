"""What can go wrong with a request to an endpoint: whether to try again, when, in which words."""

from __future__ import annotations

import random

from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

BACKOFF_S = 1.0
"""Before the second try; doubled before each further one."""

LONGEST_BACKOFF_S = 60.0
BROKEN = (APIError, TimeoutError, ValueError, TypeError, AttributeError, LookupError)
"""What an endpoint's bytes can raise on their way through the client: errors of the connection, and
those of reading JSON of any shape as a chat."""


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later; a refusal would be repeated."""
    if isinstance(error, APIStatusError):
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return True


def backoff_s(number: int, error: BaseException) -> float:
    """Seconds to wait after try `number`, with jitter; not less than the server asks for."""
    wait = BACKOFF_S * 2.0 ** (number - 1) * random.uniform(0.5, 1.5)
    if isinstance(error, APIStatusError):
        asked = error.response.headers.get("retry-after", "")
        wait = max(wait, float(asked) if asked.isdecimal() else 0)
    return min(wait, LONGEST_BACKOFF_S)


def reason(error: BaseException, timeout_s: float) -> str:
    """One line for the table of what failed; the server's own words where it gave any."""
    if isinstance(error, TimeoutError | APITimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, APIStatusError):
        said = error.body.get("message") if isinstance(error.body, dict) else None
        text = f"HTTP {error.status_code}: {said or error.response.reason_phrase}"
    elif isinstance(error, APIConnectionError):
        text = f"no connection: {error.__cause__ or error}"
    else:
        text = f"broken stream: {error}"
    return " ".join(text.split())[:300]
