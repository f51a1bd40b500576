"""What the API server sends to watchers: sizes of real objects, and the published figures for Endpoints and EndpointSlices."""

import json
from pathlib import Path

import pytest

import svcsim
from svcsim.kube.api.base import ObjectMeta
from svcsim.kube.api.endpoints import (
    Endpoint,
    EndpointAddress,
    Endpoints,
    EndpointSlice,
    EndpointsPort,
    EndpointSubset,
    ObjectReference,
)
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod, PodSpec, PodStatus
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.slice_reconciler import reconcile
from svcsim.kube.controllers.subsets import desired_endpoints
from svcsim.kube.propagation import json_bytes, protobuf_bytes
from svcsim.kube.wire import manifest_of
from svcsim.scenario.expansion import variants
from tests.kube.small_cluster import SmallCluster, deployment, service


def encoded(*fields):
    """Protobuf, written out: (field number, bytes | str | int | list of fields)."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += bytes([number << 3]) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else encoded(*value) if isinstance(value, list) else value
            out += bytes([number << 3 | 2]) + varint(len(data)) + data
    return out


def varint(value):
    out = []
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def envelope(kind, version, body):
    return b"k8s\0" + encoded((1, [(1, version), (2, kind)]), (2, body), (3, ""), (4, ""))


UID = "0b1c2d3e-0000-4000-a000-000000000001"
REFERENCE = ObjectReference(kind="Pod", namespace="default", name="web-0", uid=UID)
REFERENCE_FIELDS = [(1, "Pod"), (2, "default"), (3, "web-0"), (4, UID), (5, ""), (6, ""), (7, "")]
META = ObjectMeta(name="web", namespace="default", uid=UID, resource_version=1234567, labels={"app": "web"})
META_FIELDS = [(1, "web"), (2, ""), (3, "default"), (4, ""), (5, UID), (6, "1234567"), (7, 0), (8, bytes(8)),
               (11, [(1, "app"), (2, "web")])]


def test_endpoints_are_as_long_as_their_encoding():
    subset = EndpointSubset(addresses=(EndpointAddress(ip="10.0.0.1", node_name="n1", target_ref=REFERENCE),),
                            ports=(EndpointsPort(name="http", port=8080),))
    body = encoded((1, META_FIELDS), (2, [
        (1, [(1, "10.0.0.1"), (2, REFERENCE_FIELDS), (3, ""), (4, "n1")]), (3, [(1, "http"), (2, 8080), (3, "TCP")]),
    ]))
    assert protobuf_bytes(Endpoints(metadata=META, subsets=(subset,))) == len(envelope("Endpoints", "v1", body))


def test_a_slice_is_as_long_as_its_encoding():
    endpoint = Endpoint.model_validate({"addresses": ("10.0.0.1",), "conditions": {"ready": True, "serving": True},
                                        "target_ref": REFERENCE, "node_name": "n1", "zone": "a",
                                        "hints": {"for_zones": ({"name": "a"},)}})
    piece = EndpointSlice.model_validate({"metadata": META, "endpoints": (endpoint,), "ports": ({"name": "", "port": 300},)})
    body = encoded((1, META_FIELDS), (2, [
        (1, "10.0.0.1"), (2, [(1, 1), (2, 1)]), (4, REFERENCE_FIELDS), (6, "n1"), (7, "a"), (8, [(1, [(1, "a")])]),
    ]), (3, [(1, ""), (3, 300)]), (4, "IPv4"))
    assert protobuf_bytes(piece) == len(envelope("EndpointSlice", "discovery.k8s.io/v1", body))


def test_json_is_that_of_the_manifest():
    assert json_bytes(service()) == len(json.dumps(manifest_of(service()), separators=(",", ":")))


def large_service(endpoints, nodes):
    """The objects of a Service of so many pods, as its controllers make them."""
    pods = [
        Pod(
            metadata=ObjectMeta(name=f"web-6d4cf56db6-{i:05d}", namespace="default", labels={"app": "web"},
                                uid=f"{i:08x}-1f2e-4d3c-ab5a-6978879605{i % 100:02d}"),
            spec=PodSpec(node_name=f"node-{i % nodes:04d}"),
            status=PodStatus.model_validate({
                "phase": "Running", "podIP": f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}",
                "conditions": [{"type": "Ready", "status": "True"}]}),
        )
        for i in range(endpoints)
    ]
    by_name = {name: Node(metadata=ObjectMeta(name=name)) for name in {pod.spec.node_name for pod in pods}}
    web = Service.model_validate({
        "metadata": {"name": "web", "namespace": "default", "uid": UID, "resourceVersion": 1},
        "spec": {"clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"], "selector": {"app": "web"}, "ports": [
            {"port": 80, "targetPort": 8080}]}})
    whole = desired_endpoints(web, pods, None, limit=10**9)
    return whole, reconcile(web, pods, by_name, []).create


def test_a_change_at_20_000_endpoints_on_5_000_nodes_costs_what_is_published():
    """KEP-752, sample case 1: 10 GB against 50 MB. Both hold within a quarter, and the ratio of 200 within a tenth."""
    endpoints, slices = large_service(20_000, 5_000)
    assert len(slices) == 200
    with_endpoints = protobuf_bytes(endpoints) * 5_000
    with_slices = max(map(protobuf_bytes, slices)) * 5_000
    assert with_endpoints == pytest.approx(10e9, rel=0.25)
    assert with_slices == pytest.approx(50e6, rel=0.25)
    assert with_endpoints / with_slices == pytest.approx(200, rel=0.1)


def test_an_object_of_5_000_endpoints_has_the_published_order_of_size():
    """The EndpointSlice article takes etcd's 1.5 MB for it, and so 4.5 GB a change to 3,000 nodes: within a factor of 2."""
    endpoints, _ = large_service(5_000, 3_000)
    assert 1.5e6 / 2 < json_bytes(endpoints) < 1.5e6 * 2
    assert 4.5e9 / 2 < json_bytes(endpoints) * 3_000 < 4.5e9 * 2


def test_a_change_goes_whole_to_all_who_watch():
    cluster = SmallCluster([deployment(replicas=3), service()])
    sent = cluster.plane.propagation.sent
    assert all(each.bytes == 0 for each in sent.values())
    for name in ("n1", "n2"):
        cluster.plane.node_client(name, "kube-proxy").watch([Service, EndpointSlice], lambda event: None)
    cluster.plane.propagation.nodes = 2
    cluster.at(1, lambda: cluster.change(service(), session_affinity="ClientIP"))
    cluster.run(2)
    written = cluster.store.require(Service, "default/web")
    assert (sent["services"].writes, sent["services"].bytes) == (1, 3 * protobuf_bytes(written))
    cluster.at(3, lambda: cluster.store.delete(Pod, cluster.pods()[0].metadata.key))
    cluster.run(20)
    slices, endpoints = sent["endpointslices"], sent["endpoints"]
    assert slices.bytes <= slices.writes * slices.largest_bytes * 3
    assert slices.bytes > slices.writes * slices.largest_bytes * 2
    assert endpoints.bytes <= endpoints.writes * endpoints.largest_bytes
    cluster.plane.propagation.of_endpoints = True
    assert [cluster.plane.propagation.watchers(kind) for kind in ("Service", "Endpoints", "EndpointSlice")] == [3, 3, 1]


def test_a_change_of_endpoints_costs_more_than_one_of_slices():
    """The scenario shipped for it: an object of six hundred endpoints against slices of a hundred, to sixty nodes."""
    path = Path(__file__).parents[2] / "scenarios" / "endpoints-at-scale.yaml"
    found = {label: svcsim.run_one(variant).counters for label, variant in variants(svcsim.load(path, {"run.duration": "12s"}))}
    before, now = found["endpoints"], found["slices"]
    assert before.api_largest_bytes["endpoints"] > 5 * before.api_largest_bytes["endpointslices"]
    assert before.api_bytes["endpoints"] > 60 * before.api_largest_bytes["endpoints"]
    assert now.api_bytes["endpoints"] < before.api_bytes["endpoints"] / 50
    assert before.api_bytes["endpoints"] > 2 * now.api_bytes["endpointslices"]
