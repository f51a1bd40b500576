"""Figures asked for in words, as on the command line."""

from __future__ import annotations

import pytest

from svcsim import loads
from svcsim.errors import UsageError
from svcsim.scenario.figures import STEADY, WITH_FAULTS, figure_of, figures_of
from svcsim.scenario.model import Scenario
from svcsim.units import S
from tests.sweep.test_tasks import TEXT


@pytest.fixture
def scenario() -> Scenario:
    return loads(TEXT + "faults: [{at: 1s, kill: 'deployment/web[0]', name: crash}]\n")


def test_without_any_the_usual_figures_are_taken(scenario: Scenario) -> None:
    assert [figure.text for figure in figures_of(loads(TEXT))] == list(STEADY)
    assert [figure.text for figure in figures_of(scenario)] == [*STEADY, *WITH_FAULTS]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("p99", "latency.p99"),
        ("p(99.9)", "latency.p999"),
        ("load: success", "load: success"),
        ("load:p50 during 500ms..1s", "load: latency.p50 during 500ms..1s"),
        ("outage of fault[crash]", "outage of fault[crash]"),
        ("outage of 0", "outage of fault[0]"),
        ("p99 to web-* during 500ms..1s", "latency.p99 to web-* during 500ms..1s"),
        ("error_rate during fault[0]..+500ms", "error_rate during fault[0]..+500ms"),
    ],
)
def test_a_figure_has_one_name_however_it_is_written(scenario: Scenario, text: str, name: str) -> None:
    assert figure_of(scenario, text).text == name


def test_windows_are_resolved_by_the_scenario(scenario: Scenario) -> None:
    question = figure_of(scenario, "p99 during fault[crash]..+500ms").question
    assert (question.start_ns, question.end_ns) == (S, S + S // 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p99 <", "not a figure"),
        ("p77", "no metric 'latency.p77'"),
        ("lod: p99", "no workload 'lod'.*load"),
        ("outage of 3", "no fault '3'"),
        ("p99 of 0", "not a figure of a fault"),
        ("load: outage", "neither workload, endpoint nor window"),
        ("p99 during 2..3", "p99 during 2..3: "),
    ],
)
def test_what_cannot_be_measured_is_refused(scenario: Scenario, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        figure_of(scenario, text)
