"""What the command line changes of a scenario, and what it leaves alone."""

from pathlib import Path

import pytest

from svcsim.cli.overrides import overrides_of
from svcsim.errors import UsageError
from svcsim.scenario import load, loads, resolved_yaml, variants
from tests.scenario.samples import MANIFESTS

SCENARIOS = Path(__file__).parents[2] / "scenarios"


def labels(scenario) -> list[str]:
    return [label for label, _ in variants(scenario)]


def test_values_are_read_as_yaml_and_paths_may_repeat() -> None:
    assert overrides_of(["run.duration=60s", "cluster.nodes.count=5", "run.seed=1", "run.seed=2"], replications=3) == {
        "run.duration": "60s", "cluster.nodes.count": 5, "run.seed": 2, "run.replications": 3}


@pytest.mark.parametrize("setting", ["run.seed", "=5", ""])
def test_a_setting_without_a_path_or_value_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="--set takes PATH=VALUE"):
        overrides_of([setting])


def test_null_takes_a_value_away() -> None:
    scenario = load(SCENARIOS / "failover.yaml", overrides_of(["compare=null", "expect=", "faults=[]"]))
    assert (labels(scenario), scenario.expect, scenario.faults) == (["iptables"], (), ())


def test_a_mode_narrows_a_comparison_to_it() -> None:
    scenario = load(SCENARIOS / "failover.yaml", overrides_of([], modes=["ipvs/rr"]))
    assert labels(scenario) == ["ipvs/rr"]
    assert [str(expectation) for expectation in scenario.expectations()] == [
        "web-load latency.p99 below 20 ms during 5s..30s", "web-load success above 99.90% during 5s..30s"]
    assert scenario.notes == ("expect[2] is of iptables, which is not run",)
    assert labels(loads(resolved_yaml(scenario))) == ["ipvs/rr"]


def test_a_mode_keeps_what_else_is_compared() -> None:
    text = "compare:\n  kubernetes.proxy.scheduler: [rr, lc]\n  cluster.nodes.count: [1, 2]\nkubernetes: {proxy: ipvs}\n"
    assert labels(loads(text + MANIFESTS, overrides=overrides_of([], modes=["iptables", "ipvs/sed"]))) == [
        "count=1/iptables", "count=1/ipvs/sed", "count=2/iptables", "count=2/ipvs/sed"]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("ipvz", "--mode: there is no proxy mode 'ipvz' (did you mean 'ipvs'?)"),
        ("ipvs/rrr", "--mode ipvs/rrr: there is no scheduler of IPVS 'rrr' (did you mean 'rr'?)"),
        ("iptables/nf", "--mode iptables/nf: there is no backend of iptables 'nf' (did you mean 'nft'?)"),
        ("nftables/rr", "--mode nftables/rr: write --mode nftables"),
    ],
)
def test_a_mode_that_there_is_not_is_told_as_the_option_that_it_is(mode: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        overrides_of([], modes=[mode])
    assert str(caught.value) == message


def test_modes_make_a_comparison_where_there_is_none() -> None:
    modes = ["userspace", "iptables/nft"]
    assert labels(loads(MANIFESTS, overrides=overrides_of([], modes=modes))) == modes


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("mode", ["userspace", "iptables", "ipvs/lc", "nftables"])
def test_each_shipped_scenario_runs_in_each_mode(path: Path, mode: str) -> None:
    """Where it compares versions, of which some lack the mode, without them."""
    overrides = overrides_of([], modes=[mode])
    if "kubernetes.version" in load(path).compare:
        overrides["compare[kubernetes.version]"] = None
    assert all(mode in label for label in labels(load(path, overrides)))
