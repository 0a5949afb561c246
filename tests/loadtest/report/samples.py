"""Samples for tests."""

from __future__ import annotations

from hypothesis import strategies as st

from loadtest.report.samples import Sample

WHOLE = Sample(
    sent_s=0.0,
    e2e_s=2.0,
    ttft_s=0.5,
    gaps_s=[0.5, 0.5, 0.5],
    output_tokens=4,
    from_usage=True,
    expert="a",
    task="facts",
    turn=None,
    decision_ms=10.0,
    cost_usd=1e-6,
    error=None,
)
_seconds = st.floats(0.001, 1000)


@st.composite
def drawn(draw):
    """Any sample."""
    e2e, ttft_share = draw(_seconds), draw(st.none() | st.floats(0, 0.9))
    return Sample(
        sent_s=draw(st.floats(0, 1000)),
        e2e_s=e2e,
        ttft_s=None if ttft_share is None else ttft_share * e2e,
        gaps_s=draw(st.lists(_seconds, max_size=3)),
        output_tokens=draw(st.integers(0, 100)),
        from_usage=draw(st.booleans()),
        expert=draw(st.sampled_from("abc")),
        task=None,
        turn=None,
        decision_ms=draw(st.none() | _seconds),
        cost_usd=draw(st.none() | st.floats(0, 1)),
        error=draw(st.none() | st.just("HTTP 500: no")),
    )
