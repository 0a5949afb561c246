from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from serve.online.stages import Stages


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1, 3))))
def test_stages_follow_each_other_and_add_up(ends):
    stages = Stages()
    for stage, after in ends:
        stages.until(stage, stages.began + after)
    spans = stages.spans
    assert all(earlier.end == later.begin for earlier, later in itertools.pairwise(spans))
    assert all(span.end >= span.begin for span in spans)
    whole = spans[-1].end - stages.began if spans else 0.0
    assert abs(sum(stages.seconds.values()) - whole) < 1e-9
