"""Moving averages of response times: what they take up, how they fade, and what a new endpoint begins with."""

from __future__ import annotations

from math import exp

from hypothesis import given
from hypothesis import strategies as st

from svcsim.units import MS, S
from svcsim.workload.peak_ewma import MovingAverages

TIMES = st.integers(0, 60 * S)


@given(st.lists(st.tuples(TIMES, TIMES), max_size=20))
def test_an_average_lies_between_zero_and_the_longest_time(times):
    averages, now_ns = MovingAverages(("a", "b")), 0
    averages.observe("b", max([took for took, _ in times], default=0) + 1, 0)
    for took_ns, later_ns in times:
        averages.observe("a", took_ns, now_ns)
        assert averages.faster("b", "a", 0) == "a"
        now_ns += later_ns


def test_a_slow_one_is_avoided_until_its_average_has_faded_below_the_others():
    averages = MovingAverages(("slow", "fast"))
    averages.observe("slow", 1 * S, 0)
    averages.observe("fast", 10 * MS, 0)
    assert averages.faster("slow", "fast", 1 * S) == "fast"
    for second in range(60):
        averages.observe("fast", 10 * MS, second * S)
    faded_ns = 1e9 * exp(-6)
    assert averages.faster("slow", "fast", 60 * S) == ("slow" if faded_ns < 10 * MS else "fast")


def test_a_new_endpoint_begins_with_the_mean_and_the_others_keep_theirs():
    averages = MovingAverages(("a", "b"))
    averages.observe("a", 10 * MS, 0)
    averages.observe("b", 30 * MS, 0)
    changed = averages.changed_to(("a", "new"), 0)
    assert changed.faster("new", "a", 0) == "a"
    assert averages.changed_to(("b", "new"), 0).faster("b", "new", 0) == "new"
    changed.observe("b", 1, 0)  # it is gone
    assert changed.faster("a", "new", 0) == "a"
