"""Arrivals from a file: what is read as a time, what is told when it is none, and when requests are then sent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import svcsim
from svcsim.errors import InputError
from svcsim.scenario import loads, resolved_yaml
from svcsim.scenario.trace import Trace, read_times
from svcsim.units import S
from svcsim.workload import arrivals
from tests.world.small import SMALL


@pytest.mark.parametrize(("text", "column", "unit", "times"), [
    ("0.5\n1\n\n# a comment\n2.25 # and another\n", None, "s", [0.5, 1, 2.25]),
    ("time,path\n1,/a\n3,/b\n", None, "s", [1, 3]),
    ("path,at\n/a,1500\n/b,250\n", "at", "ms", [0.25, 1.5]),
    ("2026-01-31T12:00:00Z\n2026-01-31T13:00:01.5+01:00\n", None, "s", [0, 1.5]),
    ("1700000000.5\n1700000002\n", None, "s", [0, 1.5]),
    ("1700000000500\n1700000000750\n", None, "ms", [0, 0.25]),
    ('"a, b",7\n"c",9\n', "7", "s", [9]),
])
def test_times_are_numbers_or_dates_in_any_order(text, column, unit, times):
    assert read_times(text, "trace.csv", column, unit) == times


@pytest.mark.parametrize(("text", "column", "message"), [
    ("1\ntwo\n3\n", None, "trace.csv:2:1: a number of s or a date is expected, as '12.5' or '2026-01-31T12:00:00Z', not 'two'"),
    ("1\n-1\n", None, "trace.csv:2:1: a number of s"),
    ("1\n1e400\n", None, "trace.csv:2:1: a number of s"),
    ("time,path\n1\n", "tim", "trace.csv:1:1: the header has no column 'tim' (did you mean 'time'?)"),
    ("path,time\n/a\n", "time", "trace.csv:2:1: a number of s or a date is expected"),
    ("# nothing\n", None, "trace.csv:1:1: it holds no time"),
])
def test_what_is_no_time_is_told_with_its_line(text, column, message):
    with pytest.raises(InputError) as caught:
        read_times(text, "trace.csv", column, "s")
    assert str(caught.value).startswith(message)


def traced(tmp_path, text: str, **keys: object) -> svcsim.Scenario:
    (tmp_path / "trace.csv").write_text(text)
    file = tmp_path / "scenario.yaml"
    file.write_text(SMALL)
    return svcsim.load(file, {"workloads[0].arrivals": {"trace": {"file": "trace.csv", **keys}}})


def starts(scenario) -> list[float]:
    return (np.sort(svcsim.run_one(scenario).requests.start_ns) / S).tolist()


def test_requests_are_sent_at_the_times_of_a_file_beside_the_scenario(tmp_path):
    assert starts(traced(tmp_path, "0.5\n0.5\n3\n1\n")) == [0.5, 0.5, 1, 3]


def test_a_trace_can_be_played_faster_and_again(tmp_path):
    assert starts(traced(tmp_path, "0\n1\n2\n", speed=2)) == [0, 0.5, 1]
    looped = starts(traced(tmp_path, "0\n1\n2\n", loop=True))
    assert looped == [float(i) for i in range(len(looped))]
    assert len(looped) > 5


def test_the_resolved_scenario_holds_the_times_and_needs_no_file(tmp_path):
    scenario = traced(tmp_path, "0.123456789\n1.5\n", speed=3)
    (tmp_path / "trace.csv").unlink()
    again = loads(resolved_yaml(scenario))
    assert again.workloads[0].arrivals == scenario.workloads[0].arrivals


def test_a_file_that_is_not_there_is_told_at_its_place(tmp_path):
    with pytest.raises(InputError, match=r"workloads\[0\]\.arrivals\.trace: cannot read .*other\.csv"):
        traced(tmp_path, "1\n", file="other.csv")


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20), st.integers(1, 10), st.booleans(), st.integers(0, 10_000))
def test_as_many_requests_are_expected_as_are_sent(times, speed, loop, duration):
    times = sorted(times)
    trace = Trace(times=tuple(map(float, times)), speed=float(speed), loop=loop and times[0] != times[-1])
    following = trace.process()
    sent, at_ns = 0, following(0, 0.5)
    while at_ns < duration * S:
        sent += 1
        at_ns = following(at_ns, 0.5)
    assert sent == trace.expected(duration * S)


def test_a_trace_counts_from_its_workloads_start_and_ends():
    following = arrivals.trace([5, 7])
    assert [following(100, 0.1), following(105, 0.9), following(107, 0.5)] == [105, 107, arrivals.NEVER_NS]
