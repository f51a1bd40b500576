"""What a rule costs here stands in a table at the end of the run, beside the calibration profile; no time is asserted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.kernel_slope import BACKENDS, LENGTHS, rules, slopes, table
from svcsim.calibration.costs import costs_of
from svcsim.calibration.profile import load_profile
from svcsim.linux.netfilter.text import parse
from svcsim.linux.packet import TCP
from tests.kernel.namespaces import missing


def test_the_slope_of_the_service_list_is_measured(record_property: Callable[[str, object], None]) -> None:
    if reason := missing():
        pytest.skip(reason)
    found = slopes(LENGTHS, rounds=6)
    assert {(each.backend, each.protocol) for each in found} == {
        (backend, protocol) for backend in BACKENDS for protocol in ("TCP connect", "UDP send")
    }
    costs = costs_of(load_profile(), "iptables", None)
    first = found[0]
    assert first.profile_ns is not None
    assert first.profile_ns * first.longer == pytest.approx(costs.service_rules_ns(first.longer, TCP))
    record_property("table", table(found))


def test_a_list_of_some_length_has_so_many_rules_before_the_one_that_is_asked_for() -> None:
    listed = parse(rules(70))["nat"].chains["KUBE-SERVICES"]
    targets = [getattr(rule.target, "chain", "") for rule in listed]
    assert targets == ["KUBE-SVC-OTHER"] * 70 + ["KUBE-SEP-ASKED"] * 2
    assert len({rule.matches for rule in listed}) == 72
