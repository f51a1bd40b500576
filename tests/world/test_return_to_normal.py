"""After a fault has been lifted the world is as it was: nothing fails, every pod serves, latencies are those of before."""

import pytest

import svcsim.world
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.units import S
from tests.world.small import ALL_MODES, Seen, small

LIFTED = {
    "hang": {"hang": "deployment/web[1]"},
    "slow": {"slow": "deployment/web[1]", "factor": 30},
    "closePort": {"closePort": "deployment/web[1]"},
    "failReadiness": {"failReadiness": "deployment/web[1]"},
    "down": {"down": "node/worker-2"},
    "partition": {"partition": "node/worker-2"},
    "loss": {"loss": "30%", "on": "node/worker-2"},
    "delay": {"delay": "50ms", "on": "node/worker-2"},
    "stopProxy": {"stopProxy": "node/*"},
    "apiServer": {"apiServer": "down"},
    "dns": {"dns": "down"},
    "conntrackMax": {"conntrackMax": 5, "on": "node/*"},
}
QUICK = {
    "run__duration": "45s", "workloads__0__arrivals": {"constant": "40/s"}, "workloads__0__timeout": "800ms",
    "kubernetes__timings": {"nodeMonitorGrace": "2s", "nodeMonitorPeriod": "500ms", "leaseRenew": "500ms", "nodeBoot": "1s",
                            "nodeStatusUpdate": "1s", "watchBackoffMax": "2s"},
}


def state_of(world):
    """What the control plane says and what each node does, without what may differ: addresses, versions, times."""
    pods = sorted((pod.metadata.key, pod.is_ready, pod.spec.node_name) for pod in world.store.each(Pod))
    nodes = [(node.metadata.name, node.is_ready) for node in world.store.each(Node)]
    addresses = {pod.status.pod_ip for pod in world.store.each(Pod)}
    for piece in world.store.each(EndpointSlice):
        assert all(address in addresses for endpoint in piece.endpoints for address in endpoint.addresses)
    ready = {piece.service_key: sum(end.conditions.ready is not False for end in piece.endpoints)
             for piece in world.store.each(EndpointSlice)}
    trackers = [len(world.node(name).proxy.proxier.tracker.services) for name, _ in nodes]
    running = [world.node(name).kube_proxy.running for name, _ in nodes]
    return pods, nodes, ready, trackers, running


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("fault", LIFTED)
def test_after_a_fault_everything_is_as_before(fault, mode):
    scenario = small({"at": "5s", "for": "10s", **LIFTED[fault]}, mode=mode, **QUICK)
    world = svcsim.world.build(scenario)
    before = state_of(world)
    seen = Seen(world.run())
    assert state_of(world) == before
    early, late = seen.between(0.0, 5.0), seen.between(38.0, 45.0)
    assert late.failures == 0
    assert late.successes == len(late)
    assert seen.answered(38.0).keys() == seen.answered(0.0, 5.0).keys()
    assert late.latency.p50 == pytest.approx(early.latency.p50, rel=0.01)
    assert late.latency.max < 1.5 * early.latency.max
    assert world.clock.now < 60 * S
