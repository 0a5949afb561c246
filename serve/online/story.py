"""What happened to one request, from its arrival to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from serve.online.account import Account
from serve.online.apis.base import Api
from serve.online.errand import Opened
from serve.online.reading import Read
from serve.online.stages import Stages
from serve.online.tracing import UNTRACED, Trace
from serve.routing.rollout import Ruling


@dataclass(eq=False)
class Story:
    """The path of a request fills it in; books.py tells it once it is over.

    Attributes:
        api: the endpoint.
        body: the client's.
        request: the client's.
        arrived: time.time().
        began: time.perf_counter().
        stages: of the decision, and `decided_s` the whole of it; empty and 0 where there was none.
        read: None where it could not be read.
        ruling: the router's; None where the client chose, or before a decision.
        opened: the answer; None where none began.
        cascade: which tiers answered, where it was a cascade's.
        account: of the answer.
        error: what it ended in, if it did.
        trace: its spans.
    """

    api: Api
    body: Any
    request: Request
    arrived: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)
    stages: Stages = field(default_factory=Stages)
    decided_s: float = 0.0
    read: Read | None = None
    ruling: Ruling | None = None
    opened: Opened | None = None
    cascade: str | None = None
    account: Account | None = None
    error: Exception | None = None
    trace: Trace = UNTRACED

    @property
    def status(self) -> int:
        """HTTP status; that of a stream which broke off is 200 all the same."""
        if self.error is None or self.account is not None:
            return 200
        return int(getattr(self.error, "status", 500))
