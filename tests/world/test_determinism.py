"""The same scenario and seed give the same bytes; every draw is keyed, so that nothing else of a scenario moves it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import svcsim
from svcsim.results.records import COLUMNS
from svcsim.results.summary import dumps, summary
from svcsim.scenario.resolved import resolved_yaml
from svcsim.sweep.runs import run_all
from tests.world.shipped import NAMES, short
from tests.world.small import ALL_MODES, small

FAULTS = (
    {"at": "1s", "kill": "deployment/web[1]"}, {"at": "2s", "down": "node/worker-2", "for": "2s"},
    {"at": "3s", "loss": "10%", "on": "node/worker-3", "for": "1s"}, {"at": "4s", "rollout": "deployment/web"},
)
QUICK = {"run__duration": "6s", "kubernetes__timings": {"nodeBoot": "500ms"}, "servers__0__serviceTime": {"exponential": "2ms"},
         "workloads__0__resolve": "connection"}
MANY = {"compare": {"kubernetes.proxy": ["userspace", "iptables", "ipvs/lc", "nftables"]}, "run.replications": 2}


def everything():
    return small(*FAULTS, **QUICK, **MANY)


def bytes_of(comparison):
    """Fingerprint of the summary and of every column of the records."""
    digest = hashlib.sha256(dumps(summary(comparison)).encode())
    for result in comparison.results:
        for name in COLUMNS:
            digest.update(np.ascontiguousarray(result.requests.column(name)).tobytes())
    return digest.hexdigest()


SCRIPT = """
import sys
from tests.world.test_determinism import bytes_of, everything
from svcsim.sweep.runs import run_all
print(bytes_of(run_all(everything(), processes=int(sys.argv[1]))))
"""


def in_a_process_of_its_own(hash_seed, processes):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", SCRIPT, processes], capture_output=True, text=True, env=environment, check=True,
                          cwd=root)
    return done.stdout.strip()


def test_bytes_do_not_depend_on_processes_or_hash_seeds():
    here = bytes_of(run_all(everything(), processes=1))
    assert in_a_process_of_its_own("1", "1") == here
    assert in_a_process_of_its_own("4711", "2") == here


def test_another_seed_is_another_run():
    first, second = (svcsim.run_one(small(**QUICK, run__seed=seed)) for seed in (1, 2))
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("name", NAMES)
def test_the_resolved_scenario_alone_reproduces_the_run(name):
    label, scenario = short(name)[-1]
    again = svcsim.loads(resolved_yaml(scenario))
    assert svcsim.run_one(again).fingerprint == svcsim.run_one(scenario).fingerprint, label


def test_a_resolved_scenario_with_every_kind_of_part_reproduces_the_run():
    scenario = small(
        *FAULTS, {"at": "5s", "apply": {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "more"},
                                        "spec": {"selector": {"app": "web"}, "ports": [{"port": 81, "targetPort": 8080}]}}},
        **QUICK, services={"count": 5}, mode="ipvs/sed",
        cluster__outside=[{"name": "laptop", "address": "203.0.113.9", "servers": [{"port": 1234}]}],
    )
    assert svcsim.run_one(svcsim.loads(resolved_yaml(scenario))).fingerprint == svcsim.run_one(scenario).fingerprint


def test_nothing_of_a_run_is_left_behind_for_the_next():
    alone = svcsim.run_one(small(*FAULTS, **QUICK)).fingerprint
    svcsim.run_one(small(mode="ipvs/lc", **QUICK))
    assert svcsim.run_one(small(*FAULTS, **QUICK)).fingerprint == alone


# ---- keyed draws ---------------------------------------------------------------------------------------------------------

CALM = {"run__duration": "6s", "workloads__0__arrivals": "80/s", "servers__0__serviceTime": {"exponential": "3ms"},
        "servers__0__workers": 64}


def by_sequence(result, *columns, workload=0):
    requests = result.requests.select(result.requests.workload == workload)
    order = np.argsort(requests.sequence)
    return {column: requests.column(column)[order] for column in columns}


def same(first, second):
    return all((first[column] == second[column]).all() for column in first)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_modes_see_the_same_arrivals_and_service_times(mode):
    iptables = by_sequence(svcsim.run_one(small(**CALM)), "sequence", "start_ns", "service_ns", "client_node")
    other = by_sequence(svcsim.run_one(small(mode=mode, **CALM)), "sequence", "start_ns", "service_ns", "client_node")
    assert same(iptables, other)


def test_iptables_and_nftables_choose_by_the_same_number():
    first, second = (
        by_sequence(svcsim.run_one(small(mode=mode, **CALM)), "endpoint")["endpoint"] for mode in ("iptables", "nftables")
    )
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    assert len(pairs) == 3  # perhaps in another order, but one to one


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_second_workload_moves_no_draw_of_the_first(mode):
    columns = ["sequence", "start_ns", "service_ns", "client_node"]
    if mode in ("iptables", "nftables"):
        columns.append("endpoint")  # drawn; in other modes it is the turn of one, which all connections share
    alone = by_sequence(svcsim.run_one(small(mode=mode, **CALM)), *columns)
    scenario = small(mode=mode, **CALM)
    more = [*scenario.origin.data["workloads"], {
        "name": "other", "from": "deployment/client", "to": "http://web.default.svc:80", "arrivals": "50/s", "resolve": "never",
    }]
    more[0] = {**more[0], "arrivals": CALM["workloads__0__arrivals"]}
    settings = {key: value for key, value in CALM.items() if "workloads" not in key}
    both = by_sequence(svcsim.run_one(small(mode=mode, workloads=more, **settings)), *columns)
    assert same(alone, both)


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_retries_move_no_draw_of_first_attempts(mode):
    columns = ("sequence", "start_ns", "client_node")
    kill = {"at": "2s", "kill": "deployment/web[1]"}
    once = svcsim.run_one(small(kill, mode=mode, **CALM))
    again = svcsim.run_one(small(kill, mode=mode, workloads__0__retries={"attempts": 3, "backoff": "10ms"}, **CALM))
    assert same(by_sequence(once, *columns), by_sequence(again, *columns))
    first = by_sequence(once, "outcome", "endpoint", "service_ns", "attempts")
    second = by_sequence(again, "outcome", "endpoint", "service_ns", "attempts")
    succeeded = first["outcome"] == 0
    assert (second["attempts"][succeeded] == 1).all()
    assert (first["endpoint"][succeeded] == second["endpoint"][succeeded]).all()
    assert (first["service_ns"][succeeded] == second["service_ns"][succeeded]).all()
    assert (second["attempts"][~succeeded] > 1).all()
    assert (second["outcome"] != 0).sum() < 0.2 * (~succeeded).sum()


def test_a_fault_later_moves_nothing_before_it():
    calm, upset = svcsim.run_one(small(**CALM)), svcsim.run_one(small({"at": "4s", "kill": "deployment/web[0]"}, **CALM))
    columns = ("start_ns", "latency_ns", "endpoint", "sequence")
    early = [by_sequence(result, *columns) for result in (calm, upset)]
    before = early[0]["start_ns"] < 3_900_000_000
    assert all((early[0][column][before] == early[1][column][before]).all() for column in columns)


def test_slower_servers_keep_the_quantiles_of_their_service_times():
    one, ten = (
        by_sequence(svcsim.run_one(small(**{**CALM, "servers__0__serviceTime": {"exponential": mean}})), "service_ns", "start_ns")
        for mean in ("1ms", "10ms")
    )
    assert (one["start_ns"] == ten["start_ns"]).all()
    assert np.allclose(ten["service_ns"] / one["service_ns"], 10.0, rtol=1e-3)
