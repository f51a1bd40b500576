"""What happens, and when, when a node dies, is cut off, or the API server goes away."""

import pytest

from svcsim.engine.journal import Happening
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.controllers.node_health import (
    EvictionPace,
    Sign,
    ZoneState,
    eviction_interval_ns,
    is_lost,
    observe,
    zone_state,
)
from svcsim.kube.timings import load_timings
from svcsim.units import MS, S
from tests.kube.small_cluster import SmallCluster, deployment, service

HTTP = {"httpGet": {"port": 8080}, "periodSeconds": 5}


def power_off(cluster, name):
    cluster.plane.kubelet(name).power_off()


def power_on(cluster, name):
    cluster.plane.kubelet(name).power_on()


@pytest.mark.parametrize(("version", "grace_s"), [((1, 31), 40), ((1, 32), 50)])
@pytest.mark.parametrize("death_s", [20, 23.7, 31.2])
def test_a_dead_node_is_noticed_after_the_grace_period_of_its_version(version, grace_s, death_s):
    timings = load_timings(version)
    assert timings.node_monitor_grace_ns == grace_s * S
    cluster = SmallCluster([deployment(), service()], node_monitor_grace_ns=grace_s * S)
    cluster.at(death_s, lambda: power_off(cluster, "n2"))
    cluster.run(120)
    noticed = cluster.first(Happening.NODE_NOT_READY, "n2") - death_s * S
    # The last lease is up to 10 s older than the death, was seen at the next look (5 s), and a look finds it too old.
    assert (grace_s - 10) * S <= noticed <= (grace_s + 10) * S
    pods_ns = cluster.first(Happening.POD_NOT_READY)
    assert 0 <= pods_ns - cluster.first(Happening.NODE_NOT_READY) <= 30 * MS
    assert cluster.entries(Happening.POD_NOT_READY)[0].detail["reason"] == "NodeNotReady"
    updated = cluster.first(Happening.ENDPOINTS_UPDATED)
    assert 0 < updated - pods_ns <= 40 * MS
    assert cluster.endpoints() == (2, 3)


def test_pods_of_a_lost_node_are_replaced_after_their_toleration_of_five_minutes():
    cluster = SmallCluster([deployment(), service()])
    (victim,) = [pod for pod in cluster.pods() if pod.spec.node_name == "n2"]
    cluster.at(20, lambda: power_off(cluster, "n2"))
    cluster.run(500)
    noticed = cluster.first(Happening.NODE_NOT_READY)
    (evicted,) = cluster.entries(Happening.POD_TERMINATING)
    assert evicted.subject == victim.metadata.key
    assert 300 * S <= evicted.at_ns - noticed <= 306 * S
    assert cluster.endpoints() == (3, 4)
    assert cluster.store.require(Pod, victim.metadata.key).is_terminating
    taints = {(taint.key, taint.effect) for taint in cluster.store.require(Node, "n2").spec.taints}
    assert taints == {("node.kubernetes.io/unreachable", "NoSchedule"), ("node.kubernetes.io/unreachable", "NoExecute")}
    assert {pod.spec.node_name for pod in cluster.ready_pods()} == {"n1", "n3"}


def test_a_node_that_comes_back_starts_its_pods_anew_and_is_ready_again():
    cluster = SmallCluster([deployment(), service()])
    (before,) = [pod for pod in cluster.pods() if pod.spec.node_name == "n2"]
    cluster.at(60, lambda: power_off(cluster, "n2"))
    cluster.at(150, lambda: power_on(cluster, "n2"))
    cluster.run(200)
    booted = 150 * S + 30 * S
    assert booted <= cluster.first(Happening.NODE_READY) <= booted + S
    after = cluster.store.require(Pod, before.metadata.key)
    assert after.is_ready
    assert after.status.container_statuses[0].restart_count == 1
    assert after.status.pod_ip.startswith("10.244.1.")
    assert booted < cluster.first(Happening.CONTAINER_STARTED) <= booted + 2 * S
    assert cluster.endpoints() == (3, 3)
    assert cluster.store.require(Node, "n2").spec.taints == ()
    assert not cluster.entries(Happening.POD_TERMINATING)


def test_a_node_that_is_back_before_the_grace_period_is_over_is_hardly_noticed():
    cluster = SmallCluster([deployment(), service()])
    cluster.at(20, lambda: power_off(cluster, "n2"))
    cluster.at(22, lambda: power_on(cluster, "n2"))
    cluster.run(200)
    assert not cluster.entries(Happening.NODE_NOT_READY)
    assert len(cluster.entries(Happening.CONTAINER_STARTED)) == 1
    assert cluster.endpoints() == (3, 3)


def test_a_node_cut_off_keeps_its_pods_running_and_they_are_ready_again_soon_after():
    cluster = SmallCluster([deployment(container={"readinessProbe": HTTP}), service()])
    cluster.at(20, lambda: cluster.plane.disconnect("n2"))
    cluster.at(120, lambda: cluster.plane.connect("n2"))
    cluster.run(119)
    assert cluster.endpoints() == (2, 3)
    cluster.run(200)
    assert not cluster.entries(Happening.CONTAINER_EXITED)
    assert 120 * S <= cluster.first(Happening.NODE_READY) <= 130 * S
    # Its watch is back within the back-off, the pod's status is set right with the next status sync.
    assert 120 * S <= cluster.first(Happening.POD_READY) <= 120 * S + 60 * S + 11 * S
    assert cluster.endpoints() == (3, 3)
    assert cluster.store.require(Node, "n2").spec.taints == ()


def test_a_pod_deleted_while_its_node_was_cut_off_ends_when_the_node_hears_of_it():
    cluster = SmallCluster([deployment(), service()])
    (victim,) = [pod for pod in cluster.pods() if pod.spec.node_name == "n2"]
    cluster.at(20, lambda: cluster.plane.disconnect("n2"))
    cluster.at(25, lambda: cluster.store.delete(Pod, victim.metadata.key))
    cluster.at(40, lambda: cluster.plane.connect("n2"))
    cluster.run(39)
    assert not cluster.runtime.times("terminate")
    # Its replacement has been bound to the same node, which still counts as ready.
    assert cluster.endpoints() == (2, 3)
    cluster.run(120)
    assert cluster.endpoints() == (3, 3)
    assert cluster.runtime.times("terminate", victim.metadata.key)[0] >= 40 * S
    assert cluster.store.get(Pod, victim.metadata.key) is None


def test_without_the_api_server_nothing_is_decided_and_afterwards_all_is():
    cluster = SmallCluster([deployment(), service()])
    victim = cluster.pods()[0]
    cluster.at(20, lambda: cluster.store.set_available(False))
    cluster.at(21, lambda: cluster.plane.kubelet(victim.spec.node_name).kill(victim.metadata.key))
    cluster.at(80, lambda: cluster.store.set_available(True))
    cluster.run(79)
    assert [entry.kind for entry in cluster.journal.entries] == [Happening.CONTAINER_EXITED, Happening.CONTAINER_STARTED]
    assert cluster.endpoints() == (3, 3)
    cluster.run(300)
    assert cluster.store.require(Pod, victim.metadata.key).status.container_statuses[0].restart_count == 1
    assert not cluster.entries(Happening.NODE_NOT_READY)
    assert not cluster.entries(Happening.POD_TERMINATING)
    assert cluster.endpoints() == (3, 3)


def test_no_pods_are_evicted_when_every_node_is_lost():
    cluster = SmallCluster([deployment(), service()])
    for name in ("n1", "n2", "n3"):
        cluster.at(20, lambda name=name: power_off(cluster, name))
    cluster.run(600)
    assert len(cluster.entries(Happening.NODE_NOT_READY)) == 3
    assert not cluster.entries(Happening.POD_TERMINATING)


def test_a_pod_bound_to_a_node_that_is_down_starts_when_that_is_up():
    cluster = SmallCluster([deployment(replicas=1, nodeSelector={"kubernetes.io/hostname": "n2"})])
    cluster.at(20, lambda: power_off(cluster, "n2"))
    cluster.at(21, lambda: cluster.store.delete(Pod, cluster.pods()[0].metadata.key, 0))
    cluster.at(30, lambda: power_on(cluster, "n2"))
    cluster.run(58)
    assert not cluster.runtime.times("start", cluster.pods()[0].metadata.key)
    cluster.run(70)
    assert len(cluster.ready_pods()) == 1


def test_signs_of_life_count_from_when_they_are_read():
    sign = observe(None, 7 * S, "True", 10 * S)
    assert sign == Sign(7 * S, 10 * S, "True")
    assert observe(sign, 7 * S, "True", 15 * S) == sign
    assert observe(sign, 14 * S, "True", 15 * S).seen_ns == 15 * S
    assert not is_lost(sign, 50 * S, 60 * S)
    assert is_lost(sign, 50 * S, 60 * S + 1)


@pytest.mark.parametrize(
    ("ready", "lost", "state"),
    [(0, 0, ZoneState.NORMAL), (0, 1, ZoneState.FULL), (1, 2, ZoneState.NORMAL), (2, 3, ZoneState.PARTIAL),
     (10, 3, ZoneState.NORMAL)],
)
def test_states_of_zones(ready, lost, state):
    assert zone_state(ready, lost, 0.55) is state


def test_evictions_slow_down_with_the_extent_of_the_failure():
    timings = load_timings()
    normal, partial, full = ZoneState.NORMAL, ZoneState.PARTIAL, ZoneState.FULL
    assert eviction_interval_ns("a", {"a": normal, "b": full}, {"a": 5}, timings) == 10 * S
    assert eviction_interval_ns("a", {"a": partial, "b": normal}, {"a": 50}, timings) is None
    assert eviction_interval_ns("a", {"a": partial, "b": normal}, {"a": 51}, timings) == 100 * S
    assert eviction_interval_ns("a", {"a": full, "b": full}, {"a": 5}, timings) is None
    first = EvictionPace().take(10 * S, 3 * S)
    assert first is not None
    assert first.take(10 * S, 12 * S) is None
    assert first.take(10 * S, 13 * S) is not None
