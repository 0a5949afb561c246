from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.users.schedule import SHAPES, Stage, plan, users_at
from serve.errors import SetupError


def test_steps_go_up_in_equal_times():
    assert plan("steps", None, 90) == [Stage(0, 30, 2), Stage(30, 60, 4), Stage(60, 90, 8)]
    assert plan("steps", "1,16", 90) == [Stage(0, 45, 1), Stage(45, 90, 16)]


def test_a_spike_comes_and_goes():
    assert plan("spike", "3,9", 100) == [Stage(0, 40, 3), Stage(40, 60, 9), Stage(60, 100, 3)]


def test_steady_stays():
    assert plan("steady", "5", 10) == [Stage(0, 10, 5)]


@given(st.sampled_from(sorted(SHAPES)), st.floats(1, 1e4), st.floats(0, 2))
def test_at_every_second_the_users_are_those_of_its_stage_and_then_none(shape, seconds, share):
    stages, elapsed = plan(shape, None, seconds), share * seconds
    own = [stage.users for stage in stages if stage.start_s <= elapsed < stage.end_s]
    assert users_at(stages, elapsed) == (own[0] if own else None)
    assert (users_at(stages, elapsed) is None) == (elapsed >= stages[-1].end_s)
    assert stages[-1].end_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("shape", "levels", "seconds", "told"),
    [
        ("spike", "2", 60, "takes 2 of --levels"),
        ("steady", "2,4", 60, "takes 1 of --levels"),
        ("steps", "2,many", 60, "2,many"),
        ("steps", "2,0", 60, "2,0"),
        ("steps", None, 0, "--minutes must be above 0"),
    ],
)
def test_what_makes_no_shape_is_named(shape, levels, seconds, told):
    with pytest.raises(SetupError, match=told):
        plan(shape, levels, seconds)
