"""Several faults at once: what they do to one thing lasts until the last of them is lifted, and afterwards all is well."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import svcsim.world
from svcsim.engine.journal import Happening
from svcsim.kube.api.pod import Pod
from svcsim.results.records import Outcome
from svcsim.units import S
from tests.world.small import SMALL, Seen, see, small
from tests.world.test_return_to_normal import LIFTED, QUICK
from tests.world.test_services import NODE_PORT, UDP

INSTANT = ("loss", "delay", "slow", "dns", "conntrackMax")


@pytest.mark.parametrize("fault", [name for name in LIFTED if name not in INSTANT])
def test_a_fault_within_another_of_its_kind_does_not_end_it(fault):
    outer, inner = {"at": "5s", "for": "20s", **LIFTED[fault]}, {"at": "7s", "for": "3s", **LIFTED[fault]}
    once, twice = see(outer, **QUICK), see(outer, inner, **QUICK)
    kinds = (Happening.POD_READY, Happening.NODE_UP, Happening.PROXY_STARTED, Happening.ENDPOINTS_UPDATED)
    assert [once.times(kind) for kind in kinds] == [twice.times(kind) for kind in kinds]
    assert (once.result.requests.outcome == twice.result.requests.outcome).all()


def test_slowness_multiplies():
    seen = see({"at": "1s", "slow": "deployment/web", "factor": 3},
               {"at": "2s", "slow": "deployment/web", "factor": 5, "for": "2s"}, run__duration="6s")
    for start, end, factor in ((0.0, 0.9, 1), (1.1, 1.9, 3), (2.1, 3.9, 15), (4.1, 6.0, 3)):
        assert set(seen.between(start, end).requests.service_ns.tolist()) == {factor * 1_000_000}


def test_of_several_limits_the_one_that_was_set_last_holds():
    world = svcsim.world.build(small(
        {"at": "1s", "conntrackMax": 30, "on": "node/worker-1", "for": "4s"},
        {"at": "2s", "conntrackMax": 50, "on": "node/*", "for": "5s"}, run__duration="10s",
    ))
    table = world.node("worker-1").host.conntrack
    before = table.limit
    world.advance(round(0.5 * S))
    found = []
    for at_s in (1.5, 2.5, 5.5, 7.5):
        world.clock.run(round(at_s * S))
        found.append(table.limit)
    assert found == [30, 50, 50, before]


def test_a_port_that_was_closed_while_its_process_hung_is_open_again_when_both_are_over():
    seen = see({"at": "1s", "closePort": "deployment/web[1]", "for": "3s"},
               {"at": "2s", "hang": "deployment/web[1]", "for": "6s"}, run__duration="20s", workloads__0__timeout="500ms")
    assert seen.failed(12.0) == 0
    assert len(seen.answered(14.0)) == 3


def test_a_node_that_loses_power_again_while_it_boots_boots_once_more():
    seen = see({"at": "2s", "down": "node/worker-2", "for": "2s"}, {"at": "6s", "down": "node/worker-2", "for": "20s"},
               run__duration="70s", workloads__0__arrivals={"constant": "20/s"}, kubernetes__timings={"nodeBoot": "5s"})
    assert seen.times(Happening.NODE_UP) == [4.0, 26.0]
    started = seen.times(Happening.CONTAINER_STARTED)
    assert min(started) > 31.0
    assert seen.failed(45.0) == 0
    assert Outcome.CLIENT_GONE not in seen.outcomes(45.0)


def test_a_node_that_boots_while_it_is_cut_off_hears_nothing_until_the_network_is_back():
    seen = see({"at": "2s", "partition": "node/worker-2", "for": "20s"}, {"at": "4s", "down": "node/worker-2", "for": "2s"},
               run__duration="45s", workloads__0__arrivals={"constant": "20/s"}, kubernetes__timings={"nodeBoot": "1s"})
    assert min(seen.times(Happening.CONTAINER_STARTED)) > 22.0
    assert min(seen.times(Happening.PROXY_STARTED)) > 22.0
    assert seen.failed(38.0) == 0
    assert Outcome.CLIENT_GONE not in seen.outcomes(38.0)


def test_a_kube_proxy_that_is_stopped_while_it_starts_does_not_start():
    seen = see({"at": "2s", "stopProxy": "node/worker-1", "for": "1s"}, {"at": "4s", "stopProxy": "node/worker-1", "for": "5s"},
               run__duration="15s", workloads__0__arrivals={"constant": "20/s"})
    assert min(seen.times(Happening.PROXY_STARTED)) > 9.0


def test_a_client_pod_that_is_evicted_from_a_dead_node_is_replaced_and_nobody_is_missing_afterwards():
    timings = {**QUICK["kubernetes__timings"], "nodeToleration": "2s", "nodeEvictionInterval": "100ms"}
    seen = see({"at": "2s", "down": "node/worker-2", "for": "15s"}, run__duration="40s",
               workloads__0__arrivals={"constant": "30/s"}, kubernetes__timings=timings)
    assert seen.outcomes(3.0, 4.0)[Outcome.CLIENT_GONE] > 0
    assert Outcome.CLIENT_GONE not in seen.outcomes(12.0)  # the replacement sends in the dead one's place
    assert seen.failed(30.0) == 0


# ---- any faults ----------------------------------------------------------------------------------------------------------

PODS = st.sampled_from(["deployment/web[0]", "deployment/web[1]", "deployment/web", "deployment/client[0]"])
NODES = st.sampled_from(["node/worker-1", "node/worker-2", "node/*", "zone/c"])
LASTING = {"for": st.sampled_from(["100ms", "500ms", "2s", "7s", "20s"])}


def kind(**fields):
    return st.fixed_dictionaries({
        "at": st.integers(0, 20_000).map("{}ms".format),
        **{name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in fields.items()},
    })


FAULTS = st.one_of(
    kind(kill=PODS),
    kind(delete=st.sampled_from(["deployment/web[0]", "deployment/client[1]"]), grace=st.sampled_from(["0s", "2s"])),
    kind(hang=PODS, **LASTING), kind(slow=PODS, factor=20, **LASTING), kind(closePort=PODS, **LASTING),
    kind(failReadiness=PODS, **LASTING), kind(scale="deployment/web", replicas=st.integers(0, 5)),
    kind(rollout=st.sampled_from(["deployment/web", "deployment/client"])), kind(down=NODES, **LASTING),
    kind(partition=NODES, **LASTING), kind(loss=st.sampled_from([0.05, 0.5, 1.0]), on=NODES, **LASTING),
    kind(delay="100ms", jitter=st.sampled_from(["0s", "50ms"]), on=NODES, **LASTING), kind(stopProxy=NODES, **LASTING),
    kind(apiServer="down", **LASTING), kind(dns="down", **LASTING),
    kind(conntrackMax=st.sampled_from([3, 50]), on=NODES, **LASTING), kind(ipvsModules="missing", on=NODES),
)
SETTINGS = st.fixed_dictionaries({
    "workloads__0__connections": st.sampled_from(["keepalive", "new"]),
    "workloads__0__resolve": st.sampled_from(["never", "connection", "interval(3s)", "once"]),
    "workloads__0__retries": st.sampled_from([1, 3]),
    "servers__0__drain": st.sampled_from(["finish", "exit", "ignore"]),
    "cluster__network__cni": st.sampled_from(["bridge", "routed"]),
    "cluster__network__segment": st.sampled_from(["l2", "l3"]),
})
FAST = {
    "run__duration": "110s", "workloads__0__arrivals": {"constant": "20/s"},
    "kubernetes__timings": {**QUICK["kubernetes__timings"], "nodeToleration": "3s", "nodeEvictionInterval": "100ms",
                            "restartBackoff": "1s", "restartBackoffMax": "3s"},
}
LAST = {"at": "41s", "scale": "deployment/web", "replicas": 3}


@settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.generate, Phase.shrink],
          suppress_health_check=list(HealthCheck))
@given(
    st.lists(FAULTS, min_size=1, max_size=10), st.sampled_from(["userspace", "iptables", "ipvs/rr", "ipvs/lc", "nftables"]),
    SETTINGS, st.sampled_from(["plain", "udp", "node port"]),
)
def test_whatever_happens_nothing_is_lost_and_everything_comes_back(faults, mode, given_settings, what):
    """The world itself checks that requests, their parts and packets are conserved. (sh may send clients to a drained server.)"""
    chosen = {**FAST, **given_settings}
    if what == "node port":
        chosen.update({**NODE_PORT, "workloads__0__resolve": "never"})
    world = svcsim.world.build(small(*faults, LAST, mode=mode, text=UDP if what == "udp" else SMALL, **chosen))
    seen = Seen(world.run())
    assert seen.outcomes(98.0).keys() == {Outcome.OK}
    pods = [pod for pod in world.store.each(Pod) if pod.metadata.labels.get("app") in ("web", "client")]
    assert len(pods) == 6
    assert all(pod.is_ready and not pod.is_terminating for pod in pods)
