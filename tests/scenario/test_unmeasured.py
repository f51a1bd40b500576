"""The number of costs that were not measured: one for all that is run together, wherever it is told."""

from __future__ import annotations

import re

import pytest

import svcsim
from svcsim.calibration.profile import load_profile
from svcsim.report.html.page import page
from svcsim.report.scene import scene_of
from svcsim.report.terminal import header
from svcsim.results.summary import summary
from svcsim.scenario.expansion import variants
from svcsim.scenario.unmeasured import unmeasured_costs
from tests.world.small import ALL_MODES, small


def compared(*modes: str) -> svcsim.Scenario:
    return small(compare={"kubernetes.proxy": list(modes)}, run__duration="200ms", faults=[])


@pytest.mark.parametrize("mode", ALL_MODES)
def test_of_one_mode_it_is_the_profiles_own_count(mode):
    bases = load_profile().bases(mode.partition("/")[0])
    assert unmeasured_costs([small(mode=mode)]) == sum(bases.values()) - bases["measured"]


def test_of_several_modes_each_cost_counts_once():
    alone = {mode: unmeasured_costs([small(mode=mode)]) for mode in ALL_MODES}
    together = unmeasured_costs([small(mode=mode) for mode in ALL_MODES])
    assert max(alone.values()) < together < sum(alone.values())
    assert unmeasured_costs([small(), small()]) == alone["iptables"]


def test_what_a_mode_inherits_from_another_counts_once():
    profile = load_profile()
    paths = {
        entry.path for mode in ("iptables", "nftables") for entry in profile.entries_of(mode) if entry.basis != "measured"
    }
    inherited = [
        path for path in paths if path.startswith("modes.nftables.")
        and profile.entry(path).source == profile.entries.get(path.replace("nftables", "iptables"), profile.entry(path)).source
        and path.replace("nftables", "iptables") in paths
    ]
    assert inherited
    assert unmeasured_costs([small(), small(mode="nftables")]) == len(paths) - len(inherited)


def test_header_summary_and_report_tell_the_same():
    scenario = compared("iptables", "userspace")
    comparison = svcsim.run(scenario)
    count = summary(comparison)["unmeasured_costs"]
    said = header(scene_of(scenario, [variant for _, variant in variants(scenario)]))
    assert f"{count} of the costs used" in said
    html = page(comparison, (), "")
    assert re.search(rf"<dd>{count} derived, published or assumed", html)
    assert count > unmeasured_costs([small(mode="userspace")])
