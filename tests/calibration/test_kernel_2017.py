"""The profile `kernel-2017`: its slope follows from the chart that it names, all else is the measured profile's."""

from __future__ import annotations

import pytest

from svcsim.calibration.costs import costs_of
from svcsim.calibration.entries import MODES, PER_MODE
from svcsim.calibration.profile import load_profile

CHART = {1: (550, 550, 490), 1000: (550, 550, 550), 50_000: (1750, 4150, 7000)}
"""Microseconds of the first, the middle and the last of so many Services (source `chart-2017` of the profile)."""
OLD, BASE = load_profile("kernel-2017"), load_profile("linux-6.18-measured")
CHANGED = [path for path, entry in OLD.entries.items() if entry != BASE.entries[path]]


def rules_walked(services: int, position: int) -> int:
    """Up to the Service on the client's node, and the whole list on the pod's."""
    return position + services + 1


def test_the_slope_is_the_charts_over_the_rules_walked() -> None:
    points = [
        (rules_walked(services, position), figure)
        for services, row in CHART.items()
        for position, figure in zip((1, (services + 1) // 2, services), row, strict=True)
    ]
    middle = sum(rules for rules, _ in points) / len(points)
    slope_us = sum((rules - middle) * figure for rules, figure in points) / sum((rules - middle) ** 2 for rules, _ in points)
    assert OLD.entry("modes.iptables.service_rule_tcp").value == pytest.approx(1000 * slope_us, rel=0.01)


def test_its_spread_is_that_of_single_differences_of_the_chart() -> None:
    first, _, last = CHART[50_000]
    low = (first - CHART[1][0]) / (rules_walked(50_000, 1) - rules_walked(1, 1))
    high = (last - first) / (rules_walked(50_000, 50_000) - rules_walked(50_000, 1))
    assert OLD.entry("modes.iptables.service_rule_tcp").spread == (round(1000 * low), round(1000 * high))


def test_one_slope_holds_for_the_whole_list() -> None:
    costs = costs_of(OLD, "iptables")
    assert costs.service_rules_ns(50_000, 6) == 50_000 * costs.service_rule_tcp_ns


def test_only_the_list_and_two_rules_of_tcp_and_conntrack_differ_from_the_base() -> None:
    names = {path.rpartition(".")[2] for path in CHANGED}
    assert names == {"syn_linear", "clash_resolution"} | {
        name for name in PER_MODE if name.startswith(("service_rule", "same_vip_rule")) and name != "service_rule_knee"
    }


def test_nothing_that_it_changes_claims_to_be_measured() -> None:
    assert {OLD.entry(path).basis for path in CHANGED} <= {"published", "derived", "assumed"}


def test_syns_are_sent_again_as_before_linux_6_5() -> None:
    kernel = costs_of(OLD, "iptables").kernel
    assert (kernel.syn_linear, kernel.clash_resolution) == (0, False)


def test_the_userspace_proxys_list_has_the_slope_of_the_time() -> None:
    assert costs_of(OLD, "userspace").service_rule_tcp_ns == costs_of(OLD, "iptables").service_rule_tcp_ns


def test_modes_without_a_list_have_none() -> None:
    for mode in ("ipvs", "nftables"):
        assert costs_of(OLD, mode).service_rules_ns(50_000, 6) == 0


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.startswith("iptables")])
def test_a_rule_of_the_same_address_costs_more_than_one_that_fails_on_it(mode: str) -> None:
    for protocol in ("tcp", "udp"):
        same, plain = (OLD.entry(f"modes.{mode}.{kind}_rule_{protocol}").value for kind in ("same_vip", "service"))
        assert same > plain


def test_a_rule_without_a_comment_costs_less_and_one_of_the_nft_back_end_more() -> None:
    modes = ("iptables-without-comments", "iptables", "iptables-nft")
    slopes = [OLD.entry(f"modes.{mode}.service_rule_tcp").value for mode in modes]
    assert slopes == sorted(slopes)
