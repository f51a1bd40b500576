"""The targets as data: each has a source, a tolerance, a run of its own, and costs from a shipped profile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from svcsim.calibration.profile import shipped_profiles
from svcsim.grounding.measures import MEASURES
from svcsim.grounding.setups import document_of, scenario_of
from svcsim.grounding.targets import Source, Target, shipped_targets
from svcsim.grounding.validating import UNITS

TARGETS = shipped_targets()
each_target = pytest.mark.parametrize("target", TARGETS.targets, ids=lambda target: target.id)


def test_no_two_rows_have_one_name() -> None:
    ids = [target.id for target in TARGETS.targets]
    whats = [(target.source.key, target.what) for target in TARGETS.targets]
    assert len(set(ids)) == len(ids)
    assert len(set(whats)) == len(whats)


@pytest.mark.parametrize("source", TARGETS.sources.values(), ids=lambda source: source.key)
def test_a_source_says_where_it_is_and_how_it_was_read(source: Source) -> None:
    assert source.title
    assert source.address
    assert source.method
    assert set(source.feeds) <= set(shipped_profiles())


def test_each_source_is_used() -> None:
    used = {target.source.key for target in TARGETS.targets} | {absent.source.key for absent in TARGETS.absent}
    assert used == set(TARGETS.sources)


@each_target
def test_a_tolerance_admits_the_figure_itself(target: Target) -> None:
    assert target.low <= target.value <= target.high
    assert target.high < 2 * target.value or target.unit == "ratio"


@each_target
def test_a_row_names_a_measure_a_unit_and_a_reason_that_there_are(target: Target) -> None:
    assert target.measure in MEASURES
    assert target.unit in UNITS
    assert target.why is None or target.why in TARGETS.reasons


def test_each_reason_is_used() -> None:
    assert {target.why for target in TARGETS.targets if target.why} == set(TARGETS.reasons)


def test_sources_that_a_profile_names_are_in_sample_for_it() -> None:
    fed = {(source.key, profile) for source in TARGETS.sources.values() for profile in source.feeds}
    assert fed == {("huawei-2017", "kernel-2017"), ("netns", "kernel-2017"), ("netns", "linux-6.18-measured")}
    assert all(target.in_sample == ((target.source.key, target.of.profile) in fed) for target in TARGETS.targets)


@each_target
def test_the_two_runs_of_a_ratio_differ_in_services_or_in_the_mode_alone(target: Target) -> None:
    """So nothing else, the server's time above all, can bring a ratio about."""
    if target.over is not None:
        same = replace(target.over, services=target.of.services, mode=target.of.mode)
        assert same == target.of


def test_a_run_changes_no_cost_but_for_the_harness_without_wake_ups() -> None:
    for point in {point for target in TARGETS.targets for point in target.points}:
        calibration = document_of(point)["calibration"]
        assert calibration["profile"] in shipped_profiles()
        assert calibration.get("overrides", {}) == ({"sockets.wakeup": 0} if point.setup == "harness" else {})


def test_every_set_up_loads_and_has_as_many_services_as_it_says() -> None:
    for point in {point.setup: point for target in TARGETS.targets for point in target.points}.values():
        assert sum(generator.count for generator in scenario_of(point).services) == point.services - point.called
