"""Points of a sweep: grids, Latin hypercubes, lists, and how their values are read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.errors import UsageError
from svcsim.sweep.grid import Axis, Range, grid, latin_hypercube, listed, number_of, parse_range, shown


def test_a_grid_has_every_combination_with_the_last_axis_fastest() -> None:
    points = grid([Axis("a", (1, 2)), Axis("b", ("x", "y", "z"))])
    assert points == [(("a", a), ("b", b)) for a in (1, 2) for b in ("x", "y", "z")]


def test_grids_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="a is given twice"):
        grid([Axis("a", (1,)), Axis("a", (2,))])
    with pytest.raises(UsageError, match="1,000,000 points are more"):
        grid([Axis(name, tuple(range(100))) for name in "abc"])


@settings(deadline=None)
@given(points=st.integers(1, 40), seed=st.integers(0, 100))
def test_a_latin_hypercube_hits_each_part_of_each_axis_once(points: int, seed: int) -> None:
    ranges = [Range("a", 0.0, 1.0), Range("b", 10.0, 20.0, "ms")]
    found = latin_hypercube(ranges, points, seed)
    assert found == latin_hypercube(ranges, points, seed)
    shares = sorted(int(min(dict(point)["a"], 1 - 1e-9) * points) for point in found)
    assert all(abs(share - place) <= 1 for place, share in enumerate(shares))
    assert all(10 <= float(str(dict(point)["b"]).removesuffix("ms")) <= 20 for point in found)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("3..9", 3, 9), ("1ms..50ms", "1ms", "50ms"), ("1..50ms", "1ms", "50ms"), ("log:10..1000", 10, 1000),
        ("0.5..1.5", 0.5, 1.5),
    ],
)
def test_a_range_reaches_from_end_to_end(text: str, low: object, high: object) -> None:
    found = parse_range("x", text)
    assert (found.at(0.0), found.at(1.0)) == (low, high)


@pytest.mark.parametrize("text", ["5", "9..3", "log:0..5", "1ms..2s", "a..b", "lin:1..2", "3..3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="x: "):
        parse_range("x", text)


def test_points_are_read_from_a_csv_with_paths_above() -> None:
    assert listed("cluster.nodes.count,run.duration\n3,10s\n\n6,20s\n", "p.csv") == [
        (("cluster.nodes.count", 3), ("run.duration", "10s")),
        (("cluster.nodes.count", 6), ("run.duration", "20s")),
    ]
    for text, message in (("a,b\n1\n", "p.csv:2: 1 values for 2 paths"), ("a\n", "a line a point"), ("a,a\n1,2\n", "p.csv:1")):
        with pytest.raises(UsageError, match=message):
            listed(text, "p.csv")


def test_quantities_have_a_place_on_an_axis_and_other_values_have_none() -> None:
    assert [number_of(value) for value in (5, "250ms", "400/s")] == [5.0, 0.25, 400.0]
    assert [number_of(value) for value in ("iptables", True, {"a": 1})] == [None, None, None]
    assert [shown(value) for value in ({"mode": "ipvs", "scheduler": "lc"}, "250ms", [1])] == ["ipvs/lc", "250ms", "[1]"]
