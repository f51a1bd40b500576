"""A stored baseline against runs of now: golden to the byte, or by tolerance and what replications show."""

from __future__ import annotations

import math
import random

import pytest

from svcsim.analysis.regression import Finding, compare, golden
from svcsim.errors import UsageError
from svcsim.results.baseline import Baseline, dumps, read_baseline
from svcsim.results.measured import Figure, Measured

P99 = Figure("latency.p99", "latency.p99")
SUCCESS = Figure("success", "success")


def baseline(values: dict[str, list[tuple[float, ...]]], figures: tuple[Figure, ...] = (P99,), **other: str) -> Baseline:
    runs = [
        Measured(label, place, 1 + place, 10, f"{label}-{numbers}", numbers)
        for label, rows in values.items() for place, numbers in enumerate(rows)
    ]
    made = {"svcsim": "1", "python": "3", "numpy": "2", "profile": "p", **other}
    return Baseline("s", "hash", figures=tuple(figure.text for figure in figures), runs=tuple(runs), **made)


def finding(before: list[float], after: list[float], figure: Figure = P99, **options: object) -> Finding:
    sides = (baseline({"m": [(value,) for value in side]}, (figure,)) for side in (before, after))
    (row,) = compare(*sides, [figure], **options)  # type: ignore[arg-type,misc]
    return row.finding


SPREAD = [100.0, 104.0, 97.0, 101.0, 99.0, 103.0]


def test_a_change_beyond_the_tolerance_that_replications_show_is_a_regression() -> None:
    assert finding(SPREAD, [value * 1.1 for value in SPREAD]) is Finding.WORSE
    assert finding(SPREAD, [value * 0.9 for value in SPREAD]) is Finding.BETTER
    assert finding(SPREAD, [value * 0.9 for value in SPREAD], SUCCESS) is Finding.WORSE


def test_a_small_change_is_within_tolerance_however_sure_it_is() -> None:
    assert finding(SPREAD, [value * 1.01 for value in SPREAD]) is Finding.WITHIN
    assert finding(SPREAD, [value * 1.01 for value in SPREAD], tolerances={"*": 0.001}) is Finding.WORSE
    assert finding(SPREAD, [value * 1.1 for value in SPREAD], tolerances={"latency.p99": 0.2}) is Finding.WITHIN


def test_a_large_change_that_replications_do_not_show_is_no_regression() -> None:
    assert finding([100.0, 50.0, 150.0, 90.0], [150.0, 90.0, 60.0, 140.0]) is Finding.WITHIN


def test_equal_values_are_the_same() -> None:
    assert finding(SPREAD, list(SPREAD)) is Finding.SAME


def test_failures_where_there_were_none_are_a_regression_without_a_relative_change() -> None:
    failures = Figure("failures", "failures")
    assert finding([0.0] * 5, [3.0, 5.0, 4.0, 4.0, 6.0], failures) is Finding.WORSE


def test_what_became_infinite_is_worse_and_what_has_no_sample_fails() -> None:
    assert finding([1.0, 2.0], [1.0, math.inf]) is Finding.WORSE
    assert finding([1.0, math.inf], [1.0, 2.0]) is Finding.BETTER
    assert finding([math.inf, 1.0], [math.inf, 2.0]) is Finding.WITHIN
    assert finding([1.0, 2.0], [1.0, math.nan]) is Finding.UNKNOWN
    assert Finding.UNKNOWN.fails


def test_a_variant_that_is_gone_fails_and_a_new_one_does_not() -> None:
    old, new = baseline({"a": [(1.0,), (2.0,)]}), baseline({"b": [(1.0,), (2.0,)]})
    assert {row.label: row.finding for row in compare(old, new, [P99])} == {"a": Finding.GONE, "b": Finding.NEW}
    assert Finding.GONE.fails
    assert not Finding.NEW.fails


def test_one_run_is_judged_by_the_tolerance_alone() -> None:
    assert finding([100.0], [101.0]) is Finding.WITHIN
    assert finding([100.0], [103.0]) is Finding.WORSE


def test_golden_finds_the_one_run_that_differs() -> None:
    old = baseline({"a": [(1.0,), (2.0,)], "b": [(3.0,)]})
    new = baseline({"a": [(1.0,), (2.5,)], "c": [(4.0,)]})
    assert [(miss.label, miss.replication, bool(miss.before), bool(miss.after)) for miss in golden(old, new)] == [
        ("a", 1, True, True), ("c", 0, False, True), ("b", 0, True, False),
    ]
    assert golden(old, old) == ()


def test_a_baseline_says_what_it_was_made_with() -> None:
    old, new = baseline({"a": [(1.0,)]}), baseline({"a": [(1.0,)]}, svcsim="2", profile="q")
    assert old.differences(new) == ["svcsim 1 then, 2 now", "profile p then, q now"]


def test_a_baseline_reads_back_as_it_was_written(tmp_path: object) -> None:
    path = tmp_path / "s.json"  # type: ignore[operator]
    old = baseline({"a": [(1.25, math.inf), (2.0, 0.5)]}, (P99, SUCCESS))
    path.write_text(dumps(old))
    assert read_baseline(path) == old
    assert dumps(read_baseline(path)) == dumps(old)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "svcsim/baseline/v1"}', "\x00"])
def test_a_file_that_is_no_baseline_is_named(tmp_path: object, text: str) -> None:
    path = tmp_path / "s.json"  # type: ignore[operator]
    path.write_text(text)
    with pytest.raises(UsageError, match=r"s\.json is not a baseline"):
        read_baseline(path)


def test_false_alarms_are_as_rare_as_the_level_says() -> None:
    """1,000 checks of nine noisy figures with other seeds: at 95% at most 50 alarms are due; 80 are more than four sigma."""
    draws = random.Random(11)
    figures = [Figure(f"f{place}", "latency.p99") for place in range(9)]
    alarms = 0
    for _ in range(1000):
        sides = [
            baseline({"m": [tuple(draws.gauss(100, 8) for _ in figures) for _ in range(10)]}, tuple(figures)) for _ in range(2)
        ]
        alarms += any(row.finding.fails for row in compare(sides[0], sides[1], figures, {"*": 0.0}))
    assert alarms <= 80
