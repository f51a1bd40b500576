"""What a running control plane does, in time: start, crash, termination, roll-out, scaling, probes."""

import pytest

from svcsim.engine.journal import Happening
from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.store import with_metadata
from svcsim.units import MS, S
from tests.kube.small_cluster import SmallCluster, deployment, service

HTTP = {"httpGet": {"port": 8080}, "periodSeconds": 10}
TCP = {"tcpSocket": {"port": 8080}}


def kill(cluster, pod):
    cluster.plane.kubelet(pod.spec.node_name).kill(pod.metadata.key)


def test_a_settled_cluster_is_up_at_once_and_stays_as_it_is():
    probed = {"readinessProbe": HTTP, "livenessProbe": TCP}
    cluster = SmallCluster([deployment(container=probed), service(), service("other", selector={"app": "nothing"})])
    assert cluster.endpoints() == (3, 3)
    assert {pod.spec.node_name for pod in cluster.pods()} == {"n1", "n2", "n3"}
    assert len(cluster.runtime.running) == 3
    before = {obj.metadata.key: obj for kind in (Pod, Service, Endpoints, EndpointSlice, Deployment, ReplicaSet)
              for obj in cluster.store.each(kind)}
    cluster.run(120)
    assert cluster.journal.entries == []
    after = {obj.metadata.key: obj for kind in (Pod, Service, Endpoints, EndpointSlice, Deployment, ReplicaSet)
             for obj in cluster.store.each(kind)}
    assert after == before
    assert len(cluster.prober.calls) == 2 * 3 * 12


def test_pods_of_a_deployment_are_named_as_kubernetes_names_them():
    cluster = SmallCluster([deployment()])
    (replica_set,) = cluster.store.each(ReplicaSet)
    for pod in cluster.pods():
        owner = pod.metadata.owner_references[0]
        assert (owner.kind, owner.name) == ("ReplicaSet", replica_set.metadata.name)
        assert pod.metadata.name.startswith(f"{replica_set.metadata.name}-")
        assert pod.metadata.labels["pod-template-hash"] == replica_set.metadata.name.removeprefix("web-")
    names = [pod.metadata.name for pod in cluster.pods()]
    assert [pod.metadata.name for pod in SmallCluster([deployment("db"), deployment()]).pods()] == names


def test_starting_from_nothing_ends_where_a_settled_start_begins():
    objects = [deployment(container={"readinessProbe": HTTP}), service(), deployment("db", replicas=2), service("db")]
    settled = SmallCluster(objects)
    unsettled = SmallCluster(objects, settled=False).run(60)
    for cluster in (settled, unsettled):
        assert cluster.endpoints() == (3, 3)
        assert cluster.endpoints("db") == (2, 2)
        assert all(pod.is_ready for pod in cluster.store.each(Pod))
    (one,), (other,) = (list(cluster.store.each(ReplicaSet))[:1] for cluster in (settled, unsettled))
    assert one.status == other.status
    assert one.metadata.name == other.metadata.name


def test_a_pod_becomes_ready_at_the_relist_after_its_start_without_a_probe_and_at_its_first_success_with_one():
    plain = SmallCluster([deployment(replicas=1)], settled=False).run(10)
    probed = SmallCluster([deployment(replicas=1, container={"readinessProbe": HTTP})], settled=False).run(10)
    for cluster in (plain, probed):
        started, ready = cluster.first(Happening.CONTAINER_STARTED), cluster.first(Happening.POD_READY)
        assert 0 < ready - started <= S + 4 * MS
    assert [at for at, *_ in probed.prober.calls][:1] == [probed.first(Happening.POD_READY) - 4 * MS]


def test_a_crash_is_seen_at_the_next_relist_and_the_container_restarts_with_back_off():
    cluster = SmallCluster([deployment(replicas=1), service()])
    (pod,) = cluster.pods()
    for at_s in (10, 20, 60, 120):
        cluster.at(at_s, lambda: kill(cluster, pod))
    cluster.run(200)
    exits = [entry.at_ns for entry in cluster.entries(Happening.CONTAINER_EXITED)]
    starts = [entry.at_ns for entry in cluster.entries(Happening.CONTAINER_STARTED)]
    assert exits == [10 * S, 20 * S, 60 * S, 120 * S]
    for exited, expected_s in zip(exits, (0, 10, 20, 40), strict=True):
        started = next(at for at in starts if at > exited)
        assert expected_s * S + 300 * MS <= started - exited <= (expected_s + 1) * S + 300 * MS
        not_ready = next(e.at_ns for e in cluster.entries(Happening.POD_NOT_READY) if e.at_ns >= exited)
        assert not_ready - exited <= S + 4 * MS
        assert not_ready < started
    assert cluster.pods()[0].status.container_statuses[0].restart_count == 4
    assert cluster.endpoints() == (1, 1)


def test_a_deleted_pod_leaves_the_endpoints_before_its_process_ends_and_a_new_one_comes_at_once():
    cluster = SmallCluster([deployment(), service()])
    cluster.runtime.drain_ns = 3 * S
    victim = cluster.pods()[1]
    cluster.at(10, lambda: cluster.store.delete(Pod, victim.metadata.key))
    cluster.run(10.5)
    assert cluster.endpoints() == (2, 3)
    (end,) = [end for piece in cluster.store.each(EndpointSlice) for end in piece.endpoints if end.conditions.terminating]
    assert (end.conditions.serving, end.conditions.ready) == (True, False)
    assert len(cluster.pods()) == 4
    cluster.run(30)
    key = victim.metadata.key
    ((terminated,), (removed,)) = cluster.runtime.times("terminate", key), cluster.runtime.times("remove", key)
    assert 10 * S < terminated < 10 * S + 60 * MS
    assert cluster.first(Happening.CONTAINER_EXITED) == terminated + 3 * S == removed
    assert cluster.first(Happening.POD_REMOVED) == removed + S
    assert cluster.endpoints() == (3, 3)


@pytest.mark.parametrize(
    ("hook", "grace", "term_s", "kill_s"),
    [
        (None, 30, 0, 30),
        ({"sleep": {"seconds": 5}}, 30, 5, 30),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 12"]}}, 30, 12, 30),
        ({"exec": {"command": ["sleep", "60"]}}, 20, 20, 22),
        ({"sleep": {"seconds": 5}}, 6, 5, 7),
        (None, 1, 0, 2),
    ],
)
def test_pre_stop_counts_into_the_grace_period_and_sigkill_comes_at_its_end(hook, grace, term_s, kill_s):
    container = {"lifecycle": {"preStop": hook}} if hook else {}
    cluster = SmallCluster([deployment(replicas=1, container=container, terminationGracePeriodSeconds=grace)])
    cluster.runtime.drain_ns = None
    (pod,) = cluster.pods()
    cluster.at(10, lambda: cluster.store.delete(Pod, pod.metadata.key))
    cluster.run(60)
    began = cluster.runtime.times("terminate", pod.metadata.key)[0] - term_s * S
    assert 10 * S <= began <= 10 * S + 40 * MS
    assert cluster.runtime.times("kill", pod.metadata.key) == [began + kill_s * S]
    assert cluster.first(Happening.CONTAINER_EXITED) == began + kill_s * S


def test_a_forced_deletion_takes_the_pod_away_at_once():
    cluster = SmallCluster([deployment(replicas=1)])
    (pod,) = cluster.pods()
    cluster.at(5, lambda: cluster.store.delete(Pod, pod.metadata.key, 0))
    cluster.run(5.1)
    assert cluster.store.get(Pod, pod.metadata.key) is None
    assert cluster.runtime.times("remove", pod.metadata.key)
    assert not cluster.runtime.times("terminate")


def test_a_pod_that_fails_its_readiness_probe_leaves_after_three_failures_and_comes_back_after_one_success():
    cluster = SmallCluster([deployment(container={"readinessProbe": HTTP}), service()])
    key = cluster.pods()[0].metadata.key
    cluster.at(20, lambda: cluster.prober.failing.add(key))
    cluster.at(100, lambda: cluster.prober.failing.discard(key))
    cluster.run(90)
    probes = [at for at, of, *_ in cluster.prober.calls if of == key and at >= 20 * S]
    assert cluster.first(Happening.POD_NOT_READY) == probes[2] + MS + 4 * MS
    assert probes[2] - probes[0] == 20 * S
    assert cluster.endpoints() == (2, 3)
    cluster.run(120)
    back = next(at for at, of, *_ in cluster.prober.calls if of == key and at >= 100 * S)
    assert cluster.first(Happening.POD_READY) == back + MS + 4 * MS
    assert not cluster.entries(Happening.CONTAINER_EXITED)


def test_a_pod_that_fails_its_liveness_probe_is_restarted():
    cluster = SmallCluster([deployment(replicas=1, container={"livenessProbe": {**HTTP, "periodSeconds": 5}})])
    (pod,) = cluster.pods()
    key = pod.metadata.key
    cluster.at(20, lambda: cluster.prober.failing.add(key))
    cluster.at(36, lambda: cluster.prober.failing.discard(key))
    cluster.run(100)
    third = [at for at, of, *_ in cluster.prober.calls if of == key and at >= 20 * S][2]
    assert cluster.runtime.times("terminate", key) == [third + MS]
    assert len(cluster.entries(Happening.CONTAINER_STARTED)) == 1
    assert cluster.pods()[0].is_ready


def test_a_startup_probe_holds_the_others_back():
    startup = {"exec": {"command": ["true"]}, "periodSeconds": 2, "failureThreshold": 30}
    container = {"startupProbe": startup, "readinessProbe": HTTP}
    cluster = SmallCluster([deployment(replicas=1, container=container)], settled=False)
    cluster.run(1.5)
    key = cluster.pods()[0].metadata.key
    cluster.prober.failing.add((key, "exec"))
    cluster.at(20, cluster.prober.failing.clear)
    cluster.run(40)
    first_http = next(at for at, _, action, _ in cluster.prober.calls if action == "http")
    execs = [at for at, _, action, _ in cluster.prober.calls if action == "exec"]
    assert 20 * S <= max(execs) < 23 * S
    assert first_http == max(execs) + MS
    assert first_http + MS < cluster.first(Happening.POD_READY) <= first_http + MS + 4 * MS


@pytest.mark.parametrize(
    ("replicas", "strategy", "most", "least"),
    [
        (4, {}, 5, 3),
        (4, {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 2}}, 4, 2),
        (4, {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}}, 8, 4),
        (3, {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, 4, 3),
    ],
)
def test_a_roll_out_keeps_enough_pods_and_not_too_many(replicas, strategy, most, least):
    cluster = SmallCluster([deployment(replicas=replicas, strategy=strategy, container={"readinessProbe": HTTP}), service()])
    old = {pod.metadata.name for pod in cluster.pods()}
    cluster.at(10, cluster.roll)
    seen = []

    def look():
        active = [pod for pod in cluster.pods() if not pod.is_terminating]
        seen.append((len(active), len(cluster.ready_pods())))
        cluster.clock.after(10 * MS, look)

    look()
    cluster.run(120)
    assert max(count for count, _ in seen) == most
    assert min(ready for _, ready in seen) == least
    assert len(cluster.ready_pods()) == replicas
    assert not old & {pod.metadata.name for pod in cluster.pods()}
    assert cluster.endpoints() == (replicas, replicas)
    sizes = sorted(each.replicas for each in cluster.store.each(ReplicaSet))
    assert sizes == [0, replicas]


def test_min_ready_seconds_slows_a_roll_out_down():
    slow = deployment(replicas=2, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    slow = slow.model_copy(update={"spec": slow.spec.model_copy(update={"min_ready_seconds": 15})})
    cluster = SmallCluster([slow])
    cluster.at(10, cluster.roll)
    cluster.run(100)
    first_new = cluster.first(Happening.POD_READY)
    first_old = cluster.first(Happening.POD_TERMINATING)
    assert 15 * S <= first_old - first_new <= 15 * S + 150 * MS
    assert len(cluster.ready_pods()) == 2


def test_a_recreate_starts_no_new_pod_before_the_last_old_one_is_gone():
    cluster = SmallCluster([deployment(strategy={"type": "Recreate"})])
    cluster.runtime.drain_ns = 4 * S
    cluster.at(10, cluster.roll)
    cluster.run(60)
    last_gone = max(entry.at_ns for entry in cluster.entries(Happening.POD_REMOVED))
    assert min(entry.at_ns for entry in cluster.entries(Happening.POD_SCHEDULED)) > last_gone
    assert len(cluster.ready_pods()) == 3


def test_scaling_down_takes_pods_that_are_not_ready_first():
    cluster = SmallCluster([deployment(container={"readinessProbe": HTTP}), service()])
    bad = cluster.pods()[1].metadata.key
    cluster.prober.failing.add(bad)
    cluster.at(50, lambda: cluster.change(deployment(), replicas=2))
    cluster.run(80)
    assert [entry.subject for entry in cluster.entries(Happening.POD_TERMINATING)] == [bad]
    cluster.at(90, lambda: cluster.change(deployment(), replicas=5))
    cluster.run(120)
    assert len(cluster.ready_pods()) == 5
    assert cluster.endpoints() == (5, 5)


def test_a_deleted_deployment_takes_its_replica_sets_and_pods_with_it_and_a_service_its_endpoints():
    cluster = SmallCluster([deployment(), service()])
    cluster.at(5, lambda: cluster.store.delete(Deployment, "default/web"))
    cluster.at(5, lambda: cluster.store.delete(Service, "default/web"))
    cluster.run(30)
    for kind in (ReplicaSet, Pod, Endpoints, EndpointSlice):
        assert cluster.store.list(kind) == []


def test_a_new_service_is_published_and_a_changed_selector_moves_it():
    cluster = SmallCluster([deployment(), deployment("db", replicas=2)])
    cluster.at(5, lambda: cluster.store.create(service()))
    cluster.run(5.2)
    assert cluster.endpoints() == (3, 3)
    assert cluster.store.require(Endpoints, "default/web").subsets[0].ports[0].port == 8080
    cluster.at(6, lambda: cluster.change(service(), selector={"app": "db"}))
    cluster.run(6.2)
    assert cluster.endpoints() == (2, 2)
    assert len(cluster.entries(Happening.SERVICE_CHANGED)) == 2


def test_two_changes_in_quick_succession_cost_the_slice_controller_a_second():
    """It does not act on a cache that lacks its own last write, and tries again after 1 s."""
    spec = {"containers": [{"name": "c"}]}
    pods = [
        Pod.model_validate({"metadata": {"name": f"p{i}", "namespace": "default", "labels": {"app": "web"}}, "spec": spec})
        for i in range(3)
    ]
    cluster = SmallCluster([*pods, service()], watch_latency_ns=10 * MS, watch_jitter_ns=0)
    cluster.at(10, lambda: cluster.store.delete(Pod, "default/p0", 0))
    cluster.at(10.007, lambda: cluster.store.delete(Pod, "default/p1", 0))
    cluster.run(20)
    slices = [e.at_ns for e in cluster.entries(Happening.ENDPOINTS_UPDATED) if e.detail["object"] == "EndpointSlice"]
    objects = [e.at_ns for e in cluster.entries(Happening.ENDPOINTS_UPDATED) if e.detail["object"] == "Endpoints"]
    assert slices == [10 * S + 15 * MS, 10 * S + 22 * MS + S + 5 * MS]
    # The Endpoints controller runs into a conflict instead, and is back after 5 ms.
    assert objects == [10 * S + 15 * MS, 10 * S + 32 * MS]


def test_hand_made_endpoints_are_mirrored_into_slices():
    subset = {"addresses": [{"ip": "8.8.8.8"}], "ports": [{"port": 53}]}
    endpoints = Endpoints.model_validate({"metadata": {"name": "ext", "namespace": "default"}, "subsets": [subset]})
    cluster = SmallCluster([service("ext", selector={}), endpoints])
    assert cluster.endpoints("ext") == (1, 1)
    cluster.run(30)
    assert cluster.journal.entries == []
    changed = endpoints.model_validate({**endpoints.model_dump(), "subsets": []})
    cluster.store.update(changed)
    cluster.run(31)
    assert cluster.endpoints("ext") == (0, 0)


def test_a_daemon_set_has_a_pod_on_each_node_that_it_tolerates_and_is_replaced_one_at_a_time():
    labels = {"app": "agent"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    agent = DaemonSet.model_validate({"metadata": {"name": "agent", "namespace": "default"}, "spec": spec})
    cluster = SmallCluster([agent])
    assert sorted(pod.spec.node_name for pod in cluster.pods("agent")) == ["n1", "n2", "n3"]
    new = {**template, "metadata": {"labels": labels, "annotations": {"v": "2"}}}
    cluster.at(10, lambda: cluster.change(agent, template=type(agent.spec.template).model_validate(new)))
    least = []

    def look():
        least.append(len(cluster.ready_pods("agent")))
        cluster.clock.after(100 * MS, look)

    look()
    cluster.run(60)
    assert min(least) == 2
    assert len(cluster.ready_pods("agent")) == 3
    assert all(pod.metadata.annotations == {"v": "2"} for pod in cluster.pods("agent"))


def test_a_replication_controller_keeps_its_pods():
    labels = {"app": "rc"}
    controller = ReplicationController.model_validate(
        {"metadata": {"name": "rc", "namespace": "default"},
         "spec": {"replicas": 2, "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}]}}}}
    )
    cluster = SmallCluster([controller])
    assert len(cluster.ready_pods("rc")) == 2
    cluster.store.delete(Pod, cluster.pods("rc")[0].metadata.key)
    cluster.run(10)
    assert len(cluster.ready_pods("rc")) == 2


def test_a_stateful_set_has_stable_names_and_starts_them_in_order():
    labels = {"app": "db"}
    spec = {"containers": [{"name": "c"}]}
    made = StatefulSet.model_validate(
        {"metadata": {"name": "db", "namespace": "default"},
         "spec": {"replicas": 3, "serviceName": "db", "selector": {"matchLabels": labels},
                  "template": {"metadata": {"labels": labels}, "spec": spec}}}
    )
    cluster = SmallCluster([made], settled=False).run(30)
    ready = [entry.subject for entry in cluster.entries(Happening.POD_READY)]
    assert ready == ["default/db-0", "default/db-1", "default/db-2"]
    assert cluster.pods("db")[0].spec.hostname == "db-0"
    cluster.store.delete(Pod, "default/db-1")
    cluster.run(60)
    assert sorted(pod.metadata.name for pod in cluster.ready_pods("db")) == ["db-0", "db-1", "db-2"]


def test_node_selectors_and_taints_place_pods_and_full_nodes_take_none():
    cluster = SmallCluster([deployment(replicas=2, nodeSelector={"topology.kubernetes.io/zone": "b"})])
    assert {pod.spec.node_name for pod in cluster.pods()} == {"n2"}
    nowhere = SmallCluster([deployment(replicas=2, nodeSelector={"disk": "ssd"})]).run(5)
    assert [pod.spec.node_name for pod in nowhere.pods()] == ["", ""]
    assert nowhere.ready_pods() == []
    node = nowhere.store.require(Node, "n3")
    nowhere.store.update(with_metadata(node, labels={**node.metadata.labels, "disk": "ssd"}))
    nowhere.run(10)
    assert {pod.spec.node_name for pod in nowhere.ready_pods()} == {"n3"}


def test_readiness_can_be_made_to_fail_and_is_itself_again():
    probe = {**HTTP, "periodSeconds": 1, "failureThreshold": 1}
    cluster = SmallCluster([deployment(container={"readinessProbe": probe}), service()])
    pod = cluster.pods()[2]
    kubelet = cluster.plane.kubelet(pod.spec.node_name)
    cluster.at(10, lambda: kubelet.fail_readiness(pod.metadata.key, failing=True))
    cluster.at(20, lambda: kubelet.fail_readiness(pod.metadata.key, failing=False))
    cluster.run(15)
    assert cluster.endpoints() == (2, 3)
    cluster.run(25)
    assert cluster.endpoints() == (3, 3)


def test_the_same_seed_gives_the_same_course_of_events():
    def course(seed):
        cluster = SmallCluster([deployment(container={"readinessProbe": HTTP}), service()], seed=seed)
        cluster.at(10, cluster.roll)
        return cluster.run(60).journal.entries

    assert course(1) == course(1)
    assert course(1) != course(2)
