"""What components say of objects: the events that a real cluster's components would record."""

from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.workloads import Deployment
from svcsim.kube.events import EventLog, Involved
from svcsim.units import S
from tests.kube.small_cluster import Happening, SmallCluster, deployment, service

POD = Involved("Pod", "default", "web-0", "uid", "v1")


def said(cluster, *reasons, component=None):
    return [e for e in cluster.store.events.entries if e.reason in reasons and component in (None, e.component)]


def test_an_event_that_is_said_again_counts():
    log = EventLog()
    for at in (1, 2, 5):
        log.record(at * S, "kubelet", "n1", POD, "Warning", "Unhealthy", "Readiness probe failed: refused")
    [entry] = log.entries
    assert (entry.count, entry.first_ns, entry.last_ns) == (3, 1 * S, 5 * S)


def test_the_tenth_different_message_stands_for_all_further_ones():
    log = EventLog()
    for number in range(20):
        log.record(number, "replicaset-controller", "", POD, "Normal", "SuccessfulCreate", f"Created pod: web-{number}")
    assert len(log.entries) == 10
    assert log.entries[-1].message == "(combined from similar events): Created pod: web-19"
    assert log.entries[-1].count == 11


def test_of_one_object_a_component_says_25_things_and_then_one_in_five_minutes():
    log = EventLog()
    for _ in range(100):
        log.record(0, "kubelet", "n1", POD, "Warning", "Unhealthy", "no")
    assert log.entries[0].count == 25
    log.record(299 * S, "kubelet", "n1", POD, "Warning", "Unhealthy", "no")
    assert log.entries[0].count == 25
    log.record(301 * S, "kubelet", "n1", POD, "Warning", "Unhealthy", "no")
    assert log.entries[0].count == 26


def test_a_settled_cluster_has_nothing_to_say():
    assert SmallCluster([deployment(), service()]).run(120).store.events.entries == []


def test_a_new_pod_is_created_scheduled_pulled_and_started():
    cluster = SmallCluster([deployment(replicas=1), service()])
    cluster.at(1, lambda: cluster.change(cluster.store.require(Deployment, "default/web"), replicas=2))
    cluster.run(10)
    told = [(e.component, e.reason) for e in cluster.store.events.entries]
    assert told == [
        ("deployment-controller", "ScalingReplicaSet"), ("replicaset-controller", "SuccessfulCreate"),
        ("default-scheduler", "Scheduled"), ("kubelet", "Pulled"), ("kubelet", "Created"), ("kubelet", "Started"),
    ]
    first = cluster.store.events.entries[0]
    [name] = {e.involved.name for e in cluster.store.events.entries if e.involved.kind == "Pod"}
    assert first.message == f"Scaled up replica set {name.rpartition('-')[0]} from 1 to 2"
    assert said(cluster, "SuccessfulCreate")[0].message == f"Created pod: {name}"
    node = cluster.store.require(Pod, f"default/{name}").spec.node_name
    assert said(cluster, "Scheduled")[0].message == f"Successfully assigned default/{name} to {node}"
    assert said(cluster, "Started")[0].host == node


def test_a_pod_that_is_deleted_is_killed():
    cluster = SmallCluster([deployment(replicas=1), service()])
    [pod] = cluster.pods()
    cluster.at(1, lambda: cluster.store.delete(Pod, pod.metadata.key))
    cluster.run(10)
    assert [(e.involved.name, e.message) for e in said(cluster, "Killing")] == [(pod.metadata.name, "Stopping container c")]


def test_each_failed_probe_is_unhealthy_and_a_failed_liveness_probe_kills():
    probe = {"httpGet": {"path": "/live", "port": 8080}, "periodSeconds": 2}
    cluster = SmallCluster([deployment(replicas=1, container={"livenessProbe": probe}), service()])
    [pod] = cluster.pods()
    cluster.at(1, lambda: cluster.prober.failing.add(pod.metadata.key))
    cluster.at(6.9, cluster.prober.failing.clear)
    cluster.run(20)
    [unhealthy] = said(cluster, "Unhealthy")
    address = pod.status.pod_ip
    assert unhealthy.count == 3
    assert unhealthy.message == (
        f'Liveness probe failed: Get "http://{address}:8080/live": dial tcp {address}:8080: connect: connection refused'
    )
    assert said(cluster, "Killing")[0].message == "Container c failed liveness probe, will be restarted"
    assert len(said(cluster, "Started")) == 1


def test_a_container_that_keeps_ending_backs_off():
    cluster = SmallCluster([deployment(replicas=1), service()])
    [pod] = cluster.pods()
    for at in (1, 5, 9):
        cluster.at(at, lambda: cluster.plane.kubelet(pod.spec.node_name).kill(pod.metadata.key))
    cluster.run(8)
    [event] = said(cluster, "BackOff")
    assert event.type == "Warning"
    uid = pod.metadata.uid
    assert event.message == f"Back-off restarting failed container c in pod {pod.metadata.name}_default({uid})"


def test_a_pod_that_fits_nowhere_is_told_why():
    cluster = SmallCluster([deployment(replicas=1, nodeSelector={"disk": "ssd"})], settled=False).run(5)
    [event] = said(cluster, "FailedScheduling")
    assert event.message == (
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


def test_a_lost_node_is_not_ready_its_pods_are_evicted_and_back_again_it_says_so():
    cluster = SmallCluster([deployment(replicas=3), service()], node_toleration_ns=20 * S)
    cluster.at(1, lambda: cluster.plane.kubelet("n2").power_off())
    cluster.at(120, lambda: cluster.plane.kubelet("n2").power_on())
    cluster.run(300)
    [lost] = said(cluster, "NodeNotReady", component="node-controller")[:1]
    assert (lost.involved.kind, lost.involved.name) == ("Node", "n2")
    assert [e.message for e in said(cluster, "NodeNotReady")][1] == "Node is not ready"
    [evicted] = said(cluster, "TaintManagerEviction")
    assert evicted.message == f"Marking for deletion Pod default/{evicted.involved.name}"
    assert [e.reason for e in cluster.store.events.entries if e.involved.name == "n2" and e.component == "kubelet"] == [
        "Starting", "Rebooted", "NodeReady",
    ]


def test_an_eviction_that_a_returning_node_forestalls_is_cancelled():
    cluster = SmallCluster([deployment(replicas=3), service()])
    cluster.at(1, cluster.plane.kubelet("n2").signs.lose_network)
    cluster.at(100, cluster.plane.kubelet("n2").signs.regain_network)
    cluster.run(200)
    assert [e.message.partition(" ")[0] for e in said(cluster, "TaintManagerEviction")] == ["Cancelling"]


def test_slices_of_pods_whose_node_is_gone_cannot_be_written():
    cluster = SmallCluster([deployment(replicas=3), service()])
    cluster.at(1, lambda: cluster.store.delete(Node, "n2"))
    cluster.run(10)
    assert said(cluster, "FailedToUpdateEndpointSlices")[0].involved.kind == "Service"
    assert said(cluster, "RemovingNode")


def test_what_is_said_while_the_api_server_is_away_arrives_later_if_not_too_late():
    for away_s, kept in ((30, True), (200, False)):
        cluster = SmallCluster([deployment(replicas=1), service()])
        [pod] = cluster.pods()
        cluster.at(1, lambda cluster=cluster: cluster.store.set_available(False))
        cluster.at(2, lambda cluster=cluster, pod=pod: cluster.plane.kubelet(pod.spec.node_name).kill(pod.metadata.key))
        cluster.at(1 + away_s, lambda cluster=cluster: cluster.store.set_available(True))
        cluster.run(20)
        assert not said(cluster, "Started")
        cluster.run(away_s + 20)
        assert bool(said(cluster, "Started")) is kept
        assert all(e.first_ns < 5 * S for e in said(cluster, "Started"))


def test_pods_beyond_a_nodes_addresses_wait_and_are_tried_again_until_one_is_given_back():
    cluster = SmallCluster([deployment(replicas=6), service()], nodes=1, block="10.244.0.0/29")
    assert len(cluster.ready_pods()) == 5
    [waiting] = [pod for pod in cluster.pods() if not pod.addresses]
    state = waiting.status.container_statuses[0].state
    assert (waiting.status.phase, state.waiting.reason, waiting.spec.node_name) == ("Pending", "ContainerCreating", "n1")
    assert [entry.subject for entry in cluster.entries(Happening.NOTE)] == [
        "1 of 6 pods wait for an address from the start: n1 has none left of 10.244.0.0/29"
    ]
    cluster.at(40, lambda: cluster.change(cluster.store.require(Deployment, "default/web"), replicas=5))
    cluster.run(39)
    told = said(cluster, "FailedCreatePodSandBox", component="kubelet")
    assert {event.involved.name for event in told} == {waiting.metadata.name}
    assert 3 <= sum(event.count for event in told) <= 4
    assert told[0].message.endswith(
        ": failed to allocate for range 0: no IP addresses available in range set: 10.244.0.1-10.244.0.6"
    )
    assert cluster.endpoints() == (5, 5)
    cluster.run(100)
    assert len(cluster.ready_pods()) == len(cluster.pods()) == 5


def test_a_pod_gets_the_address_that_another_gives_back():
    cluster = SmallCluster([deployment(replicas=6), service()], nodes=1, block="10.244.0.0/29", scheduling_ns=60 * S)
    cluster.at(1, lambda: cluster.store.delete(Pod, cluster.ready_pods()[0].metadata.key))
    cluster.run(40)
    assert len(cluster.ready_pods()) == 5
    assert len({pod.addresses for pod in cluster.ready_pods()}) == 5
    assert [pod.spec.node_name for pod in cluster.pods() if not pod.is_ready] == [""]


def test_a_cluster_says_that_it_begins_with_more_pods_than_its_nodes_take():
    cluster = SmallCluster([deployment(replicas=223), service()], nodes=2)
    assert len(cluster.ready_pods()) == 220
    assert [entry.subject for entry in cluster.entries(Happening.NOTE)] == [
        "3 of 223 pods stay Pending from the start: their nodes have no room for more (maxPods)"
    ]
    told = said(cluster.run(1), "FailedScheduling", component="default-scheduler")
    assert {event.involved.name for event in told} == {pod.metadata.name for pod in cluster.pods() if not pod.spec.node_name}
    assert told[0].message.startswith("0/2 nodes are available: 2 Too many pods. preemption: ")


def test_pods_that_take_a_port_of_their_node_wait_for_a_node_with_that_port_free():
    ports = [{"containerPort": 80, "hostPort": 80}]
    cluster = SmallCluster([deployment(replicas=4, container={"ports": ports})]).run(1)
    [event] = said(cluster, "FailedScheduling")
    assert event.message.startswith("0/3 nodes are available: 3 node(s) didn't have free ports for the requested pod ports.")
    assert cluster.entries(Happening.NOTE) == []
