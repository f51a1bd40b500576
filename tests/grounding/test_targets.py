"""The targets as data: each has a source, a tolerance, a run of its own, and costs from a shipped profile."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import groupby

import pytest

from svcsim.calibration.profile import shipped_profiles
from svcsim.grounding.failures import CASES
from svcsim.grounding.measures import MEASURES
from svcsim.grounding.setups import document_of, scenario_of
from svcsim.grounding.targets import Source, Target, shipped_targets
from svcsim.grounding.validating import UNITS
from svcsim.kube.api.service import Service

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
    both = {(source, profile) for source in ("netns", "uml-ipvs") for profile in ("kernel-2017", "linux-6.18-measured")}
    assert fed == both | {("huawei-2017", "kernel-2017")}
    assert all(target.in_sample == ((target.source.key, target.of.profile) in fed) for target in TARGETS.targets)


@each_target
def test_the_two_runs_of_a_ratio_differ_in_services_or_in_the_mode_alone(target: Target) -> None:
    """So nothing else, the server's time above all, can bring a ratio about."""
    if target.over is not None:
        same = replace(target.over, services=target.of.services, mode=target.of.mode)
        assert same == target.of


@each_target
def test_the_two_runs_of_a_difference_differ_in_one_thing_alone(target: Target) -> None:
    if target.less is not None:
        names = [field.name for field in fields(target.of)]
        assert sum(getattr(target.of, name) != getattr(target.less, name) for name in names) == 1


def test_rows_of_a_group_stand_together() -> None:
    groups = [(target.source.key, target.group) for target in TARGETS.targets]
    assert len([group for group, _ in groupby(groups)]) == len(set(groups))


def test_a_run_changes_no_cost_but_for_set_ups_of_one_process_which_never_sleeps() -> None:
    alone = {"harness", "closed-port", "empty", "empty-udp", "empty-at-once"}
    for point in {point for target in TARGETS.targets for point in target.points}:
        calibration = document_of(point)["calibration"]
        assert calibration["profile"] in shipped_profiles()
        assert calibration.get("overrides", {}) == ({"sockets.wakeup": 0} if {point.setup, point.case} & alone else {})


def test_every_set_up_loads_and_has_as_many_services_as_it_says() -> None:
    for point in {point.setup: point for target in TARGETS.targets for point in target.points}.values():
        scenario = scenario_of(point)
        declared = sum(isinstance(each, Service) for each in scenario.objects)
        assert sum(generator.count for generator in scenario.services) + declared == point.services


def test_each_case_of_failure_loads_and_has_a_row() -> None:
    used = {point.case: point for target in TARGETS.targets for point in target.points if point.setup == "failure"}
    assert set(used) == set(CASES)
    assert all(scenario_of(point).workloads for point in used.values())


# published.md lists the ratios that do not depend on the hardware; each is a row, or told not to be simulated.
RATIOS = {
    "nft-2025": [1.01, 1.02, 1.00, 4.4, 2.6, 2.8, 3.3, 4.4, 19, 3.9, 7.0, 18.6],
    "tigera-2019": [1.00, 1.00, 1.07, 1.74, 3.13, 1.04, 1.24, 1.49],
    "cilium-2019": [1.31, 1.56, 1.98, 1.01],
    "imroc-2026": [0.71, 0.55, 0.41, 0.29],
    "alibaba-2020": [0.38, 0.99, 1.00, 0.82],
    "cilium-2020": [0.86],
    "huawei-2017": [4.0],
    "kep-3453": [0.49],
    "pr-16344": [0.375],
    "xdp-2018": [0.55],
}


@pytest.mark.parametrize(("source", "ratio"), [(source, ratio) for source, ratios in RATIOS.items() for ratio in ratios])
def test_each_published_ratio_is_a_row_or_told_not_to_be_simulated(source: str, ratio: float) -> None:
    rows = [target.value for target in TARGETS.targets if target.source.key == source]
    told = [float(absent.value) for absent in TARGETS.absent if absent.source.key == source]
    assert ratio in rows + told
