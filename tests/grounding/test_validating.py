"""Rows are measured on runs, each point once; how they are counted; and the page that shows them is of now."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from svcsim.errors import UsageError
from svcsim.grounding.setups import Point, scenario_of
from svcsim.grounding.targets import Target, shipped_targets
from svcsim.grounding.validating import Row, Verdict, document, measures_of, tally, validate
from svcsim.report.grounding import BEGIN, END, HEADER, grounding_table, markdown, set_into, summary
from svcsim.world import build

TARGETS = shipped_targets()
PAGE = (Path(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")
PART = PAGE.partition(BEGIN)[2].partition(END)[0]
LARGE = 3000
"""Services beyond which a set-up takes most of a second and more, but for iptables, which has up to 5,000 in that time."""


def is_cheap(point: Point) -> bool:
    if point.case == "affinity-capacity" and point.count >= 500:
        return False
    light = point.mode.startswith("iptables") and point.setup in {"web", "packet", "harness", "sync"}
    return point.services <= (5000 if light else LARGE)


CHEAP = [target for target in TARGETS.targets if all(map(is_cheap, target.points))]
"""Rows that take 20 s of CPU together; `svcsim validate-model` runs all of them, in 90 s."""
MEASURED = "linux-6.18-measured"


def row_of(target: Target, simulated: float) -> Row:
    return Row(target, simulated)


def lines_of(part: str) -> list[str]:
    """The rows of the page's tables of figures, without the numbers of notes."""
    lines = [re.sub(r" \(\d+\)", "", line) for line in part.splitlines() if line.startswith("| ")]
    return [line for line in lines if line.count(" | ") == 5 and line != HEADER.splitlines()[0]]


@pytest.fixture(scope="module")
def cheap_rows() -> list[Row]:
    return validate(CHEAP, processes=2)


class TestThePage:
    """docs/validation.md."""

    def test_its_rows_are_the_targets_in_their_order(self) -> None:
        expected = lines_of(markdown([row_of(target, target.value) for target in TARGETS.targets], TARGETS, None))
        assert [line.split(" | ")[:3] for line in lines_of(PART)] == [line.split(" | ")[:3] for line in expected]

    def test_what_it_says_of_cheap_set_ups_is_what_they_give_now(self, cheap_rows: list[Row]) -> None:
        """To write it anew: svcsim validate-model --out docs/validation.md --figure docs/figures/validation.png"""
        now = lines_of(markdown(cheap_rows, TARGETS, None))
        places = [TARGETS.targets.index(row.target) for row in cheap_rows]
        assert len(now) > 110
        assert now == [lines_of(PART)[place] for place in places]

    def test_a_note_leads_to_the_reason_of_its_row(self) -> None:
        reasons = dict(re.findall(r"^(\d+)\. (.*)$", PART, re.MULTILINE))
        rows = [line for line in PART.splitlines() if line.count(" | ") == 5 and "| ratio |" not in line]
        for line, target in zip(rows, TARGETS.targets, strict=True):
            note = re.search(r"outside\*\* \((\d+)\)", line)
            assert (reasons[note[1]] if note else None) == TARGETS.reasons.get(target.why or "")

    def test_it_begins_with_the_counts_of_its_rows(self) -> None:
        verdicts = [line.split(" | ")[5] for line in lines_of(PART)]
        verdicts = [verdict.rstrip(" |") for verdict in verdicts]
        counted = [verdict for verdict in verdicts if not verdict.startswith("(")]
        within = counted.count("within")
        inside, outside = verdicts.count("(within)"), verdicts.count("(**outside**)")
        assert PART.strip().splitlines()[0] == (
            f"**{within} of {len(counted)} rows that count are within their tolerance, {len(counted) - within} are not. "
            f"{inside + outside} rows more are in-sample and do not count: {inside} within, {outside} not.**"
        )

    def test_a_row_has_a_reason_if_and_only_if_it_lies_outside(self) -> None:
        for line, target in zip(lines_of(PART), TARGETS.targets, strict=True):
            assert ("**outside**" in line) == (target.why is not None), target.id

    def test_each_reason_and_what_is_not_simulated_stand_on_it(self) -> None:
        assert all(text in PART for text in TARGETS.reasons.values())
        assert all(f"| {absent.what} | {absent.source.key} | {absent.value} |" in PART for absent in TARGETS.absent)


class TestRows:
    """What a row says."""

    target = TARGETS.targets[0]

    def test_bounds_are_within(self) -> None:
        verdicts = [row_of(self.target, figure).verdict for figure in (0.949, 0.95, 1.05, 1.051)]
        assert verdicts == [Verdict.OUTSIDE, Verdict.WITHIN, Verdict.WITHIN, Verdict.OUTSIDE]

    def test_in_sample_rows_are_counted_apart(self) -> None:
        in_sample = next(target for target in TARGETS.targets if target.in_sample)
        rows = [row_of(self.target, 1.0), row_of(self.target, 9.0), row_of(in_sample, in_sample.value), row_of(in_sample, 0.0)]
        counts = tally(rows)
        assert (counts.within, counts.outside, counts.in_sample_within, counts.in_sample_outside) == (1, 1, 1, 1)
        assert summary(rows).startswith("1 of 2 rows that count are within their tolerance, 1 are not. 2 rows more are in-sample")

    def test_the_reason_is_told_of_a_row_that_lies_outside_and_of_no_other(self) -> None:
        target = replace(self.target, why="cold")
        told = [row["why"] for row in document([row_of(target, 1.0), row_of(target, 9.0)], TARGETS)["rows"]]
        assert told == [None, TARGETS.reasons["cold"]]
        assert "with cold caches" not in grounding_table([row_of(target, 1.0)], TARGETS)
        assert "with cold caches" in " ".join(grounding_table([row_of(target, 9.0)], TARGETS).split())

    def test_a_count_and_a_yes_or_no_have_no_decimals(self) -> None:
        count = replace(self.target, unit="count", value=60, low=50, high=70)
        yes = replace(self.target, unit="yes", value=1, low=1, high=1)
        lines = lines_of(markdown([row_of(count, 59), row_of(yes, 1), row_of(yes, 0)], TARGETS, None))
        told = [line.strip("| ").split(" | ")[1:] for line in lines]
        assert told[0] == ["60", "50 to 70", "59", "0.98", "within"]
        assert told[1] == ["yes", "the same", "yes", "–", "within"]
        assert told[2][2:] == ["no", "–", "**outside**"]

    def test_a_difference_is_of_two_runs(self) -> None:
        target = next(target for target in CHEAP if target.id == "netns.masquerade.tcp.iptables")
        one, other = (measures_of(point, target.measure)[target.measure] for point in target.points)
        assert [row.simulated for row in validate([target], processes=1)] == [(one - other) / 1000]

    def test_the_table_fits_a_terminal(self) -> None:
        text = grounding_table([row_of(target, 2 * target.high) for target in TARGETS.targets], TARGETS)
        assert all(len(line) <= 100 for line in text.splitlines() if "(20" not in line)
        assert "…" not in text


class TestRuns:
    """Points as runs."""

    def test_rows_are_the_same_for_any_number_of_processes(self, cheap_rows: list[Row]) -> None:
        cheap = [target for target in CHEAP if target.source.key == "netns" and max(p.endpoints for p in target.points) == 1][:4]
        by_id = {row.target.id: row.simulated for row in cheap_rows}
        assert [row.simulated for row in validate(cheap, processes=1)] == [by_id[target.id] for target in cheap]

    def test_no_request_of_an_open_loop_meets_another(self) -> None:
        result = build(scenario_of(Point("packet", MEASURED, "iptables", 200)), seed=1).run()
        starts = result.requests.column("start_ns")
        assert len(starts) > 800
        assert int((starts[1:] - starts[:-1]).min()) > int(result.requests.column("latency_ns").max())

    def test_called_services_stand_all_over_the_list(self) -> None:
        result = build(scenario_of(Point("packet", MEASURED, "iptables", 200)), seed=1).run()
        rules = result.requests.column("rules")
        assert int(rules.min()) < 25
        assert int(rules.max()) > 190

    def test_the_slope_is_that_of_the_profile(self) -> None:
        found = measures_of(Point("packet", MEASURED, "iptables/nft", 200), "connect a rule")
        assert found["connect a rule"] == pytest.approx(15.82, rel=0.01)


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(UsageError, match="has no place for the table"):
        set_into("# A page\n", "", "page.md")


def test_what_stands_around_the_marks_stays() -> None:
    assert set_into(f"before\n{BEGIN}\nold\n{END}\nafter\n", f"{BEGIN}\nnew\n{END}", "page.md") == (
        f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    )
