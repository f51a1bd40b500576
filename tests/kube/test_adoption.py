"""Taking over a cluster from a dump: it starts with no change, whatever kinds the dump holds."""

import pytest

from svcsim.engine.journal import Happening
from svcsim.errors import UsageError
from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet
from svcsim.kube.kinds import kind_of
from tests.kube.small_cluster import SmallCluster

PROBE = {"httpGet": {"port": 8080}}


def owner(kind, name, uid):
    version = "v1" if kind == "Service" else "apps/v1"
    return [{"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": True, "blockOwnerDeletion": True}]


def container(image="web:1"):
    return {"name": "c", "image": image, "ports": [{"containerPort": 8080, "protocol": "TCP"}], "readinessProbe": PROBE,
            "resources": {}, "terminationMessagePath": "/dev/termination-log"}


def deployment(replicas=3, image="web:1"):
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "d-uid", "resourceVersion": "4711", "generation": 2,
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                 "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                 "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container(image)]}}},
        "status": {"replicas": replicas, "readyReplicas": replicas, "observedGeneration": 2},
    }


def replica_set(hash_="5d78c9869d", uid="rs-uid", replicas=3, image="web:1"):
    labels = {"app": "web", "pod-template-hash": hash_}
    return {
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": f"web-{hash_}", "namespace": "default", "uid": uid, "labels": labels,
                     "ownerReferences": owner("Deployment", "web", "d-uid"),
                     "annotations": {"deployment.kubernetes.io/desired-replicas": "3", "deployment.kubernetes.io/revision": "1"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": {"containers": [container(image)]}}},
    }


def pod(number, ready=True, hash_="5d78c9869d", owner_uid="rs-uid", image="web:1", node=None, **metadata):
    address = f"10.244.{number % 3}.{40 + number}"
    truth = "True" if ready else "False"
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"web-{hash_}-{number:05}", "namespace": "default", "uid": f"p-uid-{number}",
                     "generateName": f"web-{hash_}-", "labels": {"app": "web", "pod-template-hash": hash_},
                     "ownerReferences": owner("ReplicaSet", f"web-{hash_}", owner_uid), **metadata},
        "spec": {"nodeName": node or f"n{number % 3 + 1}", "containers": [container(image)], "restartPolicy": "Always",
                 "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                                  "tolerationSeconds": 300},
                                 {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                                  "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": "192.168.0.10",
                   "startTime": "2026-01-01T00:00:00Z",
                   "conditions": [{"type": kind, "status": truth, "lastProbeTime": None,
                                   "lastTransitionTime": "2026-01-01T00:00:00Z"} for kind in ("Ready", "ContainersReady")],
                   "containerStatuses": [{"name": "c", "ready": ready, "restartCount": 7, "started": ready, "state": {}}]},
    }


def service():
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "uid": "s-uid"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"], "ipFamilies": ["IPv4"],
                 "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
                 "selector": {"app": "web"},
                 "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]},
        "status": {"loadBalancer": {}},
    }


def reference(number):
    return {"kind": "Pod", "name": f"web-5d78c9869d-{number:05}", "namespace": "default", "uid": f"p-uid-{number}"}


def endpoints():
    addresses = [
        {"ip": f"10.244.{n % 3}.{40 + n}", "nodeName": f"n{n % 3 + 1}", "targetRef": {**reference(n), "resourceVersion": "9"}}
        for n in range(3)
    ]
    return {
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "web", "namespace": "default", "uid": "e-uid",
                     "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"}},
        "subsets": [{"addresses": addresses, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}],
    }


def endpoint_slice(references=True):
    zones = "abc"
    ends = [
        {"addresses": [f"10.244.{n % 3}.{40 + n}"], "conditions": {"ready": True, "serving": True, "terminating": False},
         "nodeName": f"n{n % 3 + 1}", "targetRef": reference(n), "zone": zones[n % 3]}
        for n in (2, 0, 1)
    ]
    metadata = {"name": "web-x7k2p", "generateName": "web-", "namespace": "default", "uid": "es-uid",
                "labels": {"kubernetes.io/service-name": "web",
                           "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}}
    if references:
        metadata["ownerReferences"] = owner("Service", "web", "s-uid")
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
        "endpoints": ends, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def read(*objects):
    return [kind_of(obj["apiVersion"], obj["kind"]).model.model_validate(obj) for obj in objects]


def facts(cluster):
    return {
        (obj.kind, obj.metadata.key): obj
        for kind in (Pod, Service, Endpoints, EndpointSlice, Deployment, ReplicaSet, DaemonSet)
        for obj in cluster.store.each(kind)
    }


PODS = [pod(n) for n in range(3)]


@pytest.mark.parametrize(
    "objects",
    [
        [deployment(), replica_set(), *PODS, service(), endpoints(), endpoint_slice()],
        [deployment(), *PODS, service(), endpoints(), endpoint_slice()],
        [deployment(), *PODS, service(), endpoint_slice(references=False)],
        [deployment(), *PODS, service()],
    ],
    ids=["everything", "without ReplicaSets", "slices without owners", "without endpoints"],
)
def test_an_imported_cluster_starts_with_no_change_for_a_minute(objects):
    cluster = SmallCluster(read(*objects))
    before = facts(cluster)
    cluster.run(60)
    assert cluster.journal.entries == []
    assert facts(cluster) == before
    assert sorted(cluster.store.require(Pod, key).metadata.name for key in cluster.runtime.running) == [
        f"web-5d78c9869d-{n:05}" for n in range(3)
    ]
    assert cluster.endpoints() == (3, 3)
    assert cluster.store.require(Service, "default/web").spec.cluster_ip == "10.96.7.7"
    (found,) = cluster.store.each(ReplicaSet)
    assert (found.metadata.name, found.metadata.uid, found.replicas) == ("web-5d78c9869d", "rs-uid", 3)


def test_what_a_dump_says_of_slices_is_kept_name_by_name():
    cluster = SmallCluster(read(deployment(), *PODS, service(), endpoints(), endpoint_slice()))
    (piece,) = cluster.store.each(EndpointSlice)
    assert piece.metadata.name == "web-x7k2p"
    assert [end.target_ref.uid for end in piece.endpoints] == ["p-uid-2", "p-uid-0", "p-uid-1"]


def test_an_imported_cluster_can_be_rolled_out_and_scaled():
    cluster = SmallCluster(read(deployment(), *PODS, service(), endpoints(), endpoint_slice()))
    cluster.at(5, cluster.roll)
    cluster.run(60)
    assert len(cluster.ready_pods()) == 3
    assert not {pod.metadata.name for pod in cluster.pods()} & {f"web-5d78c9869d-{n:05}" for n in range(3)}
    assert cluster.endpoints() == (3, 3)
    addresses = [pod.status.pod_ip for pod in cluster.pods()]
    assert not set(addresses) & {each["status"]["podIP"] for each in PODS}
    cluster.at(70, lambda: cluster.change(cluster.store.require(Deployment, "default/web"), replicas=1))
    cluster.run(90)
    assert cluster.endpoints() == (1, 1)


def test_a_pod_that_was_failing_goes_on_failing():
    objects = [deployment(), pod(0), pod(1), pod(2, ready=False), service()]
    cluster = SmallCluster(read(*objects)).run(60)
    assert cluster.journal.entries == []
    assert cluster.endpoints() == (2, 3)
    assert len(cluster.runtime.running) == 2


def test_a_terminating_pod_and_one_of_an_unknown_node_are_not_taken_over_and_replaced():
    leaving = pod(7, deletionGracePeriodSeconds=30, deletionTimestamp="2026-01-01T00:00:00Z")
    lost = pod(8, node="elsewhere")
    cluster = SmallCluster(read(deployment(), pod(0), pod(1), leaving, lost, service()))
    assert len(cluster.ready_pods()) == 3
    assert not {leaving["metadata"]["name"], lost["metadata"]["name"]} & {each.metadata.name for each in cluster.pods()}
    assert cluster.run(60).journal.entries == []


def test_a_roll_out_under_way_goes_on():
    """Two groups of pods of one Deployment: the larger one that looks like its template is the new ReplicaSet."""
    old = [pod(n, hash_="aaaa", owner_uid="old-uid", image="web:1") for n in range(2)]
    new = [pod(n, hash_="bbbb", owner_uid="new-uid", image="web:2") for n in (2, 3)]
    cluster = SmallCluster(read(deployment(image="web:2"), *old, *new, service()))
    cluster.run(60)
    assert len(cluster.ready_pods()) == 3
    assert {pod.metadata.labels["pod-template-hash"] for pod in cluster.pods()} == {"bbbb"}
    assert {each.metadata.name: each.replicas for each in cluster.store.each(ReplicaSet)} == {"web-aaaa": 0, "web-bbbb": 3}


def test_a_daemon_set_with_revisions_of_its_own_is_not_replaced():
    labels = {"app": "agent"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "agent:1"}]}}
    daemon_set = {"apiVersion": "apps/v1", "kind": "DaemonSet",
                  "metadata": {"name": "agent", "namespace": "default", "uid": "ds-uid"},
                  "spec": {"selector": {"matchLabels": labels}, "template": template}}
    pods = []
    for number in range(3):
        made = pod(number)
        made["metadata"] |= {"name": f"agent-{number}", "labels": {**labels, "controller-revision-hash": "7c8f9"},
                             "ownerReferences": owner("DaemonSet", "agent", "ds-uid")}
        pods.append(made)
    cluster = SmallCluster(read(daemon_set, *pods)).run(60)
    assert cluster.journal.entries == []
    assert len(cluster.ready_pods("agent")) == 3


def test_a_node_that_was_not_ready_is_down_until_it_gets_power():
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n2", "labels": {"topology.kubernetes.io/zone": "b"}},
            "spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
                                {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    cluster = SmallCluster(read(node, deployment(), pod(0), pod(1, ready=False), pod(2), service()))
    assert cluster.plane.down_at_start == ("n2",)
    cluster.run(60)
    assert cluster.journal.entries == []
    assert cluster.endpoints() == (2, 3)
    cluster.plane.kubelet("n2").power_on()
    cluster.run(120)
    assert cluster.endpoints() == (3, 3)
    assert [entry.subject for entry in cluster.entries(Happening.NODE_READY)] == ["n2"]


def test_a_service_of_a_cluster_with_another_range_keeps_its_address():
    foreign = service()
    foreign["spec"] |= {"clusterIP": "172.30.4.4", "clusterIPs": ["172.30.4.4"]}
    cluster = SmallCluster(read(deployment(), *PODS, foreign))
    assert cluster.store.require(Service, "default/web").spec.cluster_ips == ("172.30.4.4",)
    cluster.store.delete(Service, "default/web")
    plain = service()
    plain["metadata"].pop("uid")
    plain["spec"] |= {"clusterIP": "172.30.4.5", "clusterIPs": ["172.30.4.5"]}
    with pytest.raises(UsageError, match=r"172\.30\.4\.5: provided IP is not in the valid range"):
        SmallCluster(read(plain))
