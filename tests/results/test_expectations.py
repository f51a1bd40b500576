"""Expectations: bounds, modes, pooling; and that what can't be measured never passes."""

from __future__ import annotations

import math

import pytest

from svcsim.errors import NoSampleError, UsageError
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import Expectation, evaluate
from svcsim.results.metrics import METRICS, Question, Unit, measure, metric_named
from svcsim.results.records import Outcome
from svcsim.units import MS, S
from tests.results.synthetic import Fault, failover, result


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return Comparison(failover(("userspace", "iptables", "ipvs/rr", "ipvs/lc")))


def test_an_expectation_without_a_mode_is_set_against_each(comparison: Comparison) -> None:
    verdicts = evaluate([Expectation("latency.p99", high=20 * MS)], comparison)
    assert [(verdict.mode, verdict.holds) for verdict in verdicts] == [
        ("userspace", False), ("iptables", True), ("ipvs/rr", True), ("ipvs/lc", True)
    ]
    assert verdicts[0].text == "258 ms"


def test_an_expectation_of_a_mode_is_set_against_that_alone(comparison: Comparison) -> None:
    modes = [verdict.mode for verdict in evaluate([Expectation("success", low=0.5, mode="ipvs")], comparison)]
    assert modes == ["ipvs/rr", "ipvs/lc"]


def test_a_window_and_a_workload_choose_the_requests(comparison: Comparison) -> None:
    calm = Expectation("success", low=1.0, low_inclusive=True, workload="web-load", start_ns=5 * S, end_ns=30 * S)
    assert all(verdict.holds for verdict in evaluate([calm], comparison))
    everything = Expectation("success", low=1.0, low_inclusive=True)
    assert not any(verdict.holds for verdict in evaluate([everything], comparison))


@pytest.mark.parametrize(("expectation", "value", "holds"), [
    (Expectation("requests", low=10), 10, False),
    (Expectation("requests", low=10, low_inclusive=True), 10, True),
    (Expectation("requests", high=10), 10, False),
    (Expectation("requests", high=10, high_inclusive=True), 10, True),
    (Expectation("requests", low=5, high=10), 7, True),
    (Expectation("requests", low=5, high=10), 4, False),
    (Expectation("requests", low=5), math.inf, True),
    (Expectation("requests", high=5), math.inf, False),
    (Expectation("requests", low=5), math.nan, False),
])
def test_bounds_are_strict_unless_inclusive(expectation: Expectation, value: float, holds: bool) -> None:
    assert expectation.holds(value) is holds


def test_an_outage_is_that_of_the_fault_named(comparison: Comparison) -> None:
    runs = comparison["iptables"].runs
    assert measure(runs, "outage", Question(fault=0)) < 3 * S
    assert measure(runs, "outage", Question(fault=1)) > 40 * S
    assert measure(runs, "outage") == measure(runs, "outage", Question(fault=1))
    assert measure(runs, "detection", Question(fault=0)) == S


def test_a_step_that_was_never_reached_is_infinite() -> None:
    unnoticed = result(faults=[Fault("x", 5, lasts_s=5, detected_s=None, endpoints_s=None)], duration_s=20)
    assert math.isinf(measure([unnoticed], "synced"))
    assert not Expectation("synced", high=60 * S).holds(math.inf)


def test_failures_as_infinite_decide_latency_all(comparison: Comparison) -> None:
    runs = comparison["iptables"].runs
    assert math.isinf(measure(runs, "latency_all.p99"))
    assert measure(runs, "latency.p99") < 20 * MS


@pytest.mark.parametrize(("expectation", "message"), [
    (Expectation("latency.p98", high=1), r"no metric 'latency.p98' \(did you mean 'latency.p9"),
    (Expectation("success"), "no bound"),
    (Expectation("success", low=0, workload="web"), "no workload 'web' .*web-load"),
    (Expectation("success", low=0, mode="nftable"), "no result of 'nftable'"),
    (Expectation("success", low=0, start_ns=30 * S, end_ns=30 * S), r"window 30s\.\.30s is empty"),
    (Expectation("success", low=0, start_ns=30 * S, end_ns=5 * S), "is empty"),
    (Expectation("outage", high=1, fault=7), "no fault\\[7\\]"),
    (Expectation("outage", high=1, fault=0, workload="web-load"), "knows neither workload"),
    (Expectation("latency.p99", high=1, fault=0), "not a figure of a fault"),
    (Expectation("proxy_cpu", high=1, start_ns=S), "whole run"),
])
def test_what_cannot_be_measured_is_an_error(comparison: Comparison, expectation: Expectation, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate([expectation], comparison)


def test_no_sample_of_a_latency_is_an_error_of_the_figure_and_never_keeps_a_bound() -> None:
    run = result(duration_s=20, rate_per_s=50, faults=())
    run.requests.outcome[:] = Outcome.REFUSED
    with pytest.raises(NoSampleError, match=r"latency.p99: .* sample"):
        measure([run], "latency.p99")
    assert measure([run], "success") == 0.0
    low, high, success = evaluate(
        [Expectation("latency.p99", high=S), Expectation("latency.p99", low=0), Expectation("success", low=-1)], Comparison([run])
    )
    assert (low.holds, high.holds, success.holds) == (False, False, True)
    assert low.text == "without a sample"


def test_a_window_in_which_nothing_was_sent_keeps_no_bound(comparison: Comparison) -> None:
    verdicts = evaluate([Expectation("failures", high=10, start_ns=500 * S)], comparison)
    assert [verdict.holds for verdict in verdicts] == [False] * len(comparison)


def test_a_fault_metric_without_any_fault_is_an_error() -> None:
    with pytest.raises(UsageError, match="no fault took place"):
        measure([result(duration_s=10, rate_per_s=50, faults=())], "outage")


def test_the_place_of_the_expectation_is_named(comparison: Comparison) -> None:
    with pytest.raises(UsageError, match=r"^failover.yaml:41: there is no metric"):
        evaluate([Expectation("latncy", high=1, where="failover.yaml:41")], comparison)


def test_pooled_requests_decide_over_several_replications() -> None:
    runs = failover(("iptables",), replications=3, duration_s=20, rate_per_s=50, faults=())
    assert measure(runs, "requests") == sum(measure([run], "requests") for run in runs)
    each = [measure([run], "latency.p99") for run in runs]
    assert min(each) <= measure(runs, "latency.p99") <= max(each)


def test_every_metric_answers_on_a_failover_run(comparison: Comparison) -> None:
    for name, metric in METRICS.items():
        value = measure(comparison["iptables"].runs, name)
        assert not math.isnan(value)
        assert metric.text(value)
        assert metric.words
    assert metric_named("latency.p99.9") is metric_named("latency.p999")
    assert {metric.unit for metric in METRICS.values()} == set(Unit)


def test_an_expectation_reads_as_a_sentence() -> None:
    expectation = Expectation("latency.p99", high=20 * MS, workload="web-load", start_ns=5 * S, end_ns=30 * S)
    assert str(expectation) == "web-load latency.p99 below 20 ms during 5s..30s"
    assert str(Expectation("outage", high=65 * S, fault=1)) == "outage of fault[1] below 65 s"
    assert str(Expectation("success", low=0.999, low_inclusive=True)) == "success at least 99.90%"


def test_an_endpoint_or_a_pattern_of_names_chooses_the_requests_that_went_there(comparison: Comparison) -> None:
    (variant,) = comparison.matching("iptables")
    by_endpoint = variant.measured.answered_by()
    name = next(iter(by_endpoint))
    asked = {endpoint: measure(variant.runs, "requests", Question(endpoint=endpoint)) for endpoint in by_endpoint}
    assert all(asked[endpoint] >= by_endpoint[endpoint] > 0 for endpoint in by_endpoint)
    assert measure(variant.runs, "requests", Question(endpoint="*")) == sum(asked.values())
    with pytest.raises(UsageError, match="no endpoint 'nobody'"):
        measure(variant.runs, "latency.p99", Question(endpoint="nobody"))
    with pytest.raises(UsageError, match="knows neither workload, endpoint nor window"):
        measure(variant.runs, "proxy_cpu", Question(endpoint=name))
