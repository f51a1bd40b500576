"""Objects as the API server sends them: what svcsim prints it reads again, and kubectl would too."""

import yaml

from svcsim.kube.api.endpoints import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import Deployment
from svcsim.kube.kinds import KINDS
from svcsim.kube.manifests import parse_manifests
from svcsim.kube.wire import list_of, manifest_of
from tests.kube.small_cluster import SmallCluster, deployment, service


def everything(cluster):
    return [obj for kind in KINDS for obj in cluster.store.each(kind.model)]


def comparable(obj):
    """An object without what only an API server writes."""
    data = manifest_of(obj)
    for name in ("creationTimestamp", "resourceVersion"):
        data["metadata"].pop(name, None)
    for condition in data.get("status", {}).get("conditions", ()):
        condition.pop("lastTransitionTime", None)
    return data


def test_what_is_printed_reads_again_as_the_same_objects():
    cluster = SmallCluster([deployment(), service(), service("db", clusterIP="None")]).run(1)
    objects = everything(cluster)
    text = yaml.safe_dump(list_of(manifest_of(obj) for obj in objects))
    read = parse_manifests(text)
    assert not read.notes()
    assert len(read.objects) == len(objects)
    for one, other in zip(objects, read.objects, strict=True):
        assert comparable(other) == comparable(one), one.metadata.key


def test_a_cluster_that_is_read_again_starts_with_no_change():
    first = SmallCluster([deployment(), service()]).run(1)
    read = parse_manifests(yaml.safe_dump(list_of(manifest_of(obj) for obj in everything(first))))
    again = SmallCluster(read.objects).run(60)
    assert [pod.metadata.name for pod in again.pods()] == [pod.metadata.name for pod in first.pods()]
    assert [pod.addresses for pod in again.pods()] == [pod.addresses for pod in first.pods()]
    assert again.journal.entries == []
    assert again.store.require(Service, "default/web").spec == first.store.require(Service, "default/web").spec


def test_empty_fields_are_left_out_and_zeros_that_count_are_kept():
    none = manifest_of(deployment(replicas=0))
    assert none["spec"]["replicas"] == 0
    assert "minReadySeconds" not in none["spec"]
    assert "annotations" not in none["metadata"]
    piece = EndpointSlice.model_validate({
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"service.kubernetes.io/headless": ""}},
        "endpoints": (Endpoint(addresses=("10.0.0.1",), conditions=EndpointConditions(ready=False)),),
        "ports": (EndpointPort(port=80, protocol="TCP"),),
    })
    data = manifest_of(piece)
    assert data["metadata"]["labels"] == {"service.kubernetes.io/headless": ""}
    assert data["endpoints"][0]["conditions"] == {"ready": False}
    assert data["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]


def test_a_pod_that_is_being_deleted_says_since_when():
    cluster = SmallCluster([deployment(replicas=1), service()])
    [pod] = cluster.pods()
    cluster.runtime.drain_ns = None
    cluster.at(90, lambda: cluster.store.delete(Pod, pod.metadata.key))
    metadata = manifest_of(cluster.run(91).pods()[0])["metadata"]
    assert metadata["deletionTimestamp"] == "2000-01-01T00:01:30Z"
    assert metadata["deletionGracePeriodSeconds"] == 30


def test_a_deployment_says_how_many_are_ready():
    cluster = SmallCluster([deployment(replicas=2), service()])
    assert manifest_of(cluster.store.require(Deployment, "default/web"))["status"]["readyReplicas"] == 2
