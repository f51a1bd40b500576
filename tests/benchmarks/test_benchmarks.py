"""The benchmarks' scenarios are valid, and models of the same path agree."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from benchmarks import decisions, service_path
from benchmarks.measure import ONCE_BUILT, PEERS, SCENARIOS, SIMULATED
from svcsim.analysis.queueing import mmc
from svcsim.linux.ipvs.schedulers import SCHEDULERS
from svcsim.linux.packet import Verdict
from svcsim.scenario.loader import load

NEEDS = {"simpy_process": "simpy", "ciw_network": "ciw", "salabim_components": "salabim", "nspy_wires": "ns"}


@pytest.mark.parametrize("name", [*SIMULATED.values(), *ONCE_BUILT.values(), "build", "small"])
def test_every_scenario_is_valid(name: str) -> None:
    scenario = load(SCENARIOS / f"{name}.yaml")
    assert scenario.name == name
    assert not scenario.notes


def test_no_scenario_is_left_over() -> None:
    files = {file.stem for file in Path(SCENARIOS).glob("*.yaml")}
    assert files == {*SIMULATED.values(), *ONCE_BUILT.values(), "build", "small", "cluster", "path"}


def test_the_bound_by_a_random_pick_is_theory() -> None:
    rate = service_path.ARRIVALS_PER_MS / service_path.BACKENDS
    sojourn = mmc(rate, service_path.SERVICE_MEAN_MS, service_path.WORKERS).mean_sojourn
    assert pytest.approx(4 * service_path.LINK_MS + service_path.PROXY_MS + sojourn) == service_path.RANDOM_PICK_MS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", [module for module, _ in PEERS.values()])
def test_peers_agree_on_the_mean(module: str) -> None:
    pytest.importorskip(NEEDS[module])
    mean_ms = importlib.import_module(f"benchmarks.peers.{module}").run(4_000, 1)
    assert service_path.UNLOADED_MS < mean_ms < service_path.RANDOM_PICK_MS
    assert mean_ms == pytest.approx(5.10, rel=0.06)


@pytest.mark.parametrize("mode", decisions.MODES)
def test_a_node_decides_packets_to_its_services_by_table_and_by_walk(mode: str) -> None:
    path = decisions.path_of(mode, decisions.objects(3))
    by_walk = decisions.path_of(mode, decisions.objects(3))
    for packet in decisions.first_packets(20, 3):
        decided = path.decide(packet, 0.5, 0)
        walked, _ = by_walk.walk(packet, 0.5, 0)
        assert decided.verdict is Verdict.DNAT
        assert (decided.destination, decided.rules) == (walked.destination, walked.rules)


def test_every_scheduler_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "SCHEDULED", 40)
    monkeypatch.setattr(decisions, "bare_timeouts_per_s", lambda: 1e6)
    found = decisions.measure(3, 1, "scheduler")
    assert set(found) == {f"scheduler {name}" for name in SCHEDULERS}
    assert all(figures["per_s"] > 0 for figures in found.values())
