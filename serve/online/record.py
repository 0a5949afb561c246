"""One request as one JSON object: the line that the log gets of it, and what `explain` puts first.

request_log.py tells the fields.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from serve.online.account import Account
from serve.online.reading import Read
from serve.online.story import Story
from serve.protocol import Decision
from serve.routing.rollout import Ruling
from serve.terms import Needs, Wish


def record_of(story: Story, *, prompts: bool) -> dict[str, Any]:
    """A request that is over.

    Args:
        story: of it.
        prompts: whether the prompt may be in it.
    """
    record: dict[str, Any] = {
        "time": round(story.arrived, 3),
        "request_id": story.request.headers.get("x-request-id", ""),
        "endpoint": story.api.path,
        "status": story.status,
        "seconds": round(time.perf_counter() - story.began, 4),
    }
    if story.error is not None:
        record["error"] = str(story.error)
    if story.read is not None:
        record |= _asked(story.read)
    if story.ruling is not None:
        record |= _decided(story, story.ruling)
    if story.opened is not None:
        record["expert"] = story.opened.expert
        record["tried"] = [list(pair) for pair in story.opened.tried]
    if story.cascade is not None:
        record["cascade"] = story.cascade
    if story.account is not None and story.opened is not None:
        record |= _answered(story, story.account)
    if prompts:
        record.update(story.body.model_dump(mode="json", include={"messages", "prompt"}))
    return record


def decision_record(decision: Decision) -> dict[str, Any]:
    """A decision: what /v1/route answers and the log keeps."""
    return {
        "router": decision.router,
        "objective": decision.objective,
        "rule": dict(decision.rule),
        "previous": decision.previous,
        "guarded": decision.guarded,
        "novelty": decision.novelty,
        "experts": [
            {
                "id": candidate.expert,
                "quality": candidate.quality,
                "cost_usd": candidate.cost_usd,
                "utility": candidate.utility,
                "input_tokens": candidate.input_tokens,
                "output_tokens": round(candidate.output_tokens, 1),
                "seconds": candidate.seconds,
                "switch_usd": candidate.switch_usd,
                "wake_s": candidate.wake_s,
                "barred": candidate.bar and candidate.bar.reason,
            }
            for candidate in decision.candidates
        ],
    }


def _asked(read: Read) -> dict[str, Any]:
    query = read.query
    return {
        "key": read.caller.name,
        "model": read.model,
        "input_tokens": query.input_tokens,
        "max_tokens": query.max_output_tokens,
        "wish": _unlike(query.wish, Wish()),
        "needs": _unlike(query.needs, Needs()),
        "previous": query.previous,
        "bound_to": query.bound_to,
    }


def _unlike(said: Wish | Needs, default: Wish | Needs) -> dict[str, Any]:
    """The fields that a request did not leave at their default."""
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in asdict(said).items()
        if value != getattr(default, name)
    }


def _decided(story: Story, ruling: Ruling) -> dict[str, Any]:
    record = {"model": "auto", **decision_record(ruling.acting)}
    record["decision_ms"] = round(story.decided_s * 1000, 3)
    seconds = story.stages.seconds
    record["stages_ms"] = {stage: round(took * 1000, 3) for stage, took in seconds.items()}
    if ruling.challenger is not None:
        record["challenger"] = {
            "router": ruling.challenger.router,
            "pick": ruling.challenger.pick.expert,
            "canary": ruling.canary,
        }
    return record


def _answered(story: Story, account: Account) -> dict[str, Any]:
    assert story.read is not None and story.opened is not None
    lease = story.opened.lease
    usage = account.taken(story.read.query.input_tokens)
    bill = account.bill or account.billed(usage)
    return {
        "ttft_s": None if lease.first is None else round(lease.first - lease.started, 4),
        "counted": account.usage is not None,
        "usage": usage._asdict(),
        **bill.fields(),
    }
