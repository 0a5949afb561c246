from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.samples import read, write
from tests.loadtest.report.samples import WHOLE, drawn


@given(st.lists(drawn(), max_size=5))
def test_every_line_comes_back_as_it_was(tmp_path_factory, samples):
    file = tmp_path_factory.mktemp("samples") / "samples.jsonl"
    with file.open("w") as lines:
        for sample in samples:
            write(sample, lines)
    assert read(file) == samples


def test_time_per_token_is_of_those_after_the_first():
    assert WHOLE.tpot_s == (2.0 - 0.5) / 3
    assert replace(WHOLE, output_tokens=1).tpot_s is None
    assert replace(WHOLE, ttft_s=None).tpot_s is None
