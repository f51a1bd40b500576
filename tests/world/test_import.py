"""A cluster read from what `kubectl get -o yaml` printed: it starts without a change, serves, and lives on as any other."""

import pytest
import yaml

import svcsim.world
from svcsim.engine.journal import Happening
from svcsim.kube.api.node import Node
from svcsim.units import S
from tests.kube.test_adoption import PODS, deployment, endpoint_slice, endpoints, facts, replica_set, service
from tests.world.small import ALL_MODES, Seen


def node(number):
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": f"n{number + 1}", "uid": f"n-uid-{number}",
                     "labels": {"kubernetes.io/hostname": f"n{number + 1}", "topology.kubernetes.io/zone": "abc"[number]}},
        "spec": {"podCIDR": f"10.244.{number}.0/24", "podCIDRs": [f"10.244.{number}.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": f"192.168.0.{10 + number}"},
                                 {"type": "Hostname", "address": f"n{number + 1}"}],
                   "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
                   "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]},
    }


def dump(*more):
    items = [*(node(i) for i in range(3)), deployment(), replica_set(), *PODS, service(), endpoints(), endpoint_slice(), *more]
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}


def scenario(mode="iptables", faults=(), workloads=(), duration="60s"):
    text = yaml.safe_dump({
        "apiVersion": "svcsim/v1", "kind": "Scenario", "metadata": {"name": "imported"}, "manifests": [dump()],
        "kubernetes": {"proxy": {"mode": mode}}, "workloads": list(workloads), "faults": list(faults),
        "run": {"duration": duration, "warmup": "0s"},
    })
    return svcsim.loads(text)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_nothing_changes_for_a_minute(mode):
    world = svcsim.world.build(scenario(mode))
    before = facts(world)
    world.advance(60 * S)
    assert facts(world) == before
    assert world.journal.entries == []
    assert [machine.metadata.name for machine in world.store.each(Node)] == ["n1", "n2", "n3"]


def test_nodes_keep_their_addresses_cores_and_zones():
    world = svcsim.world.build(scenario())
    assert [(machine.name, machine.cores, machine.zone) for machine in world.machines] == [
        ("n1", 8, "a"), ("n2", 8, "b"), ("n3", 8, "c")
    ]
    assert len({host.address for host in world.network.fabric.hosts}) == 3


LOAD = {"name": "load", "from": {"clients": 2}, "to": "http://10.96.7.7:80", "arrivals": "100/s", "connections": "new"}


@pytest.mark.parametrize("mode", ALL_MODES)
def test_it_serves_with_the_addresses_of_the_dump_and_lives_on(mode):
    kill = {"at": "3s", "delete": "pod/web-5d78c9869d-00001"}
    seen = Seen(svcsim.run_one(scenario(mode, [kill], [LOAD], "20s")))
    assert set(seen.answered(0.0, 3.0)) == {f"default/web-5d78c9869d-{number:05}" for number in range(3)}
    late = seen.answered(12.0)
    assert len(late) == 3
    assert "default/web-5d78c9869d-00001" not in late
    [new] = set(late) - set(seen.answered(0.0, 3.0))
    assert new.startswith("default/web-5d78c9869d-")  # of the ReplicaSet that was in the dump
    assert seen.failed(12.0) == 0
    assert not [entry for entry in seen.result.journal.entries if entry.at_ns < 3 * S]
    assert seen.times(Happening.POD_REMOVED)
