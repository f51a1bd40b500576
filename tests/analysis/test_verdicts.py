"""Verdicts on variants against a base: better or worse only where many pairs together show it."""

from __future__ import annotations

import math
import random

import pytest

from svcsim.analysis.verdicts import Word, contrast, document
from svcsim.errors import UsageError
from svcsim.results.measured import Figure, Measured

P99 = Figure("latency.p99", "latency.p99")
SUCCESS = Figure("success", "success")
REQUESTS = Figure("requests", "requests")


def runs(label: str, *columns: list[float]) -> list[Measured]:
    return [Measured(label, i, 1 + i, 100, "", tuple(values)) for i, values in enumerate(zip(*columns, strict=True))]


def words(found_runs: list[Measured], figure: Figure, **options: object) -> dict[str, Word]:
    found = contrast(found_runs, [figure], **options)  # type: ignore[arg-type]
    return {row.label: row.word for row in found.rows}


def test_what_is_lower_in_every_pair_is_better_for_a_latency_and_worse_for_success() -> None:
    high, low = [0.9, 0.92, 0.91, 0.93], [0.8, 0.81, 0.82, 0.83]
    both = [*runs("a", high), *runs("b", low)]
    assert words(both, P99) == {"a": Word.BASE, "b": Word.BETTER}
    assert words(both, SUCCESS) == {"a": Word.BASE, "b": Word.WORSE}
    assert words(both, REQUESTS) == {"a": Word.BASE, "b": Word.DIFFERENT}


def test_pairing_shows_a_small_difference_under_a_large_common_spread() -> None:
    common = [10.0, 90.0, 40.0, 70.0, 20.0]
    shifted = [value + shift for value, shift in zip(common, (1.0, 1.1, 0.9, 1.05, 0.95), strict=True)]
    assert words([*runs("a", common), *runs("b", shifted)], P99)["b"] is Word.WORSE
    assert words([*runs("a", common), *runs("b", [*shifted[1:], shifted[0]])], P99)["b"] is Word.NONE_SHOWN


def test_equal_runs_are_said_to_be_equal_and_not_merely_undecided() -> None:
    same = [1.0, 2.0, 3.0]
    assert words([*runs("a", same), *runs("b", same)], P99)["b"] is Word.EQUAL


def test_a_figure_that_is_infinite_or_without_a_sample_gives_no_verdict() -> None:
    for odd in (math.inf, math.nan):
        found = contrast([*runs("a", [1.0, 2.0]), *runs("b", [1.0, odd])], [P99])
        assert [row.word for row in found.rows] == [Word.BASE, Word.UNKNOWN]
        assert document(found, [], "s")["contrasts"][1]["values"] == [1.0, None]


def test_the_base_is_the_first_variant_unless_another_is_named() -> None:
    three = [*runs("a", [1.0, 2.0]), *runs("b", [1.0, 2.0]), *runs("c", [1.0, 2.0])]
    assert [row.label for row in contrast(three, [P99]).rows] == ["a", "b", "c"]
    assert [row.label for row in contrast(three, [P99], base="b").rows] == ["b", "a", "c"]
    with pytest.raises(UsageError, match="no variant 'd'"):
        contrast(three, [P99], base="d")


def test_one_replication_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two"):
        contrast([*runs("a", [1.0]), *runs("b", [1.0])], [P99])


def test_among_many_figures_without_any_difference_a_wrong_verdict_is_rare() -> None:
    """300 tables of ten figures, all noise: at a level of 95% about 15 may have a wrong verdict; 31 would be five sigma."""
    draws = random.Random(7)
    wrong = 0
    figures = [Figure(f"f{number}", "latency.p99") for number in range(10)]
    for _ in range(300):
        sides = [runs(label, *[[draws.gauss(100, 5) for _ in range(8)] for _ in figures]) for label in "ab"]
        found = contrast([*sides[0], *sides[1]], figures)
        wrong += any(row.word in {Word.BETTER, Word.WORSE} for row in found.rows)
    assert 0 < wrong < 31
