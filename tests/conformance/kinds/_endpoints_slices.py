"""Cases of the kind `endpoints` about the EndpointSlice controller's reconciler."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from svcsim.kube.api.endpoints import Endpoint, EndpointSlice
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service, ServicePort
from svcsim.kube.controllers.service_pods import address_types, endpoint_of, find_port, slice_ports
from svcsim.kube.controllers.slice_reconciler import (
    SlicePlan,
    SliceSettings,
    finalise,
    is_placeholder,
    new_slice,
    reconcile,
)
from svcsim.kube.controllers.topology_hints import NodeShare, cpu_ratios
from tests.conformance.kinds._endpoints_objects import node_of, pod_of, pods_of, service_of

NODE = "node-1"
NODES = {NODE: node_of({"name": NODE})}


def named(piece: EndpointSlice, name: str) -> EndpointSlice:
    return piece.model_copy(update={"metadata": piece.metadata.model_copy(update={"name": name, "generate_name": ""})})


def applied(existing: Iterable[EndpointSlice], plan: SlicePlan) -> list[EndpointSlice]:
    """The slices after the plan's writes."""
    slices = {piece.metadata.name: piece for piece in existing}
    for piece in plan.delete:
        del slices[piece.metadata.name]
    for piece in plan.update:
        slices[piece.metadata.name] = piece
    for number, piece in enumerate(plan.create, start=len(slices) + 1000):
        slices[f"new-{number}"] = named(piece, f"new-{number}")
    return list(slices.values())


def slices_of(service: Service, pods: list[Pod], lengths: list[int], nodes: Mapping[str, Node] = NODES) -> list[EndpointSlice]:
    """Slices that hold the first pods, so many each."""
    made = []
    start = 0
    for number, length in enumerate(lengths):
        some = pods[start : start + length]
        endpoints = [_endpoint(pod, service, nodes) for pod in some]
        made.append(named(new_slice(service, "IPv4", slice_ports(service, pods[0]), endpoints), f"slice-{number}"))
        start += length
    return made


def _endpoint(pod: Pod, service: Service, nodes: Mapping[str, Node]) -> Endpoint:
    node = nodes.get(pod.spec.node_name)
    endpoint = endpoint_of(pod, service, "IPv4", node.zone if node else "")
    assert endpoint is not None
    return endpoint


def check_counts(plan: SlicePlan, existing: list[EndpointSlice], expect: dict) -> None:
    writes = {"creates": len(plan.create), "updates": len(plan.update), "deletes": len(plan.delete), "writes": plan.writes}
    assert {name: writes[name] for name in writes if name in expect} == {name: expect[name] for name in writes if name in expect}
    if "sliceLengths" in expect:
        lengths = sorted(len(piece.endpoints) for piece in applied(existing, plan))
        assert lengths == sorted(expect["sliceLengths"])


def plain(endpoint: Endpoint) -> dict:
    return endpoint.model_dump(by_alias=True, exclude_none=True)


def _agrees(expected: object, actual: object) -> bool:
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(_agrees(value, actual.get(name)) for name, value in expected.items())
    return list(actual) == expected if isinstance(actual, tuple) else actual == expected


def check_one_pod(given: dict, expect: dict) -> None:
    service = service_of({"labels": None, **given["service"], "selector": {"foo": "bar"}})
    nodes = {given["node"]["name"]: node_of(given["node"])}
    plan = reconcile(service, [pod_of(row) for row in given["pods"]], nodes, [])
    check_counts(plan, [], expect)
    made = {piece.address_type: piece for piece in plan.create}
    assert set(made) == set(expect["slices"])
    for family, rows in expect["slices"].items():
        piece = made[family]
        assert len(piece.endpoints) == len(rows)
        for row, endpoint in zip(rows, piece.endpoints, strict=True):
            assert _agrees(row, plain(endpoint)), (row, plain(endpoint))
        assert piece.metadata.labels == expect["labels"]
        assert piece.metadata.generate_name.startswith(expect["slicesNamePrefix"])
        published = any(endpoint.hostname for endpoint in piece.endpoints)
        assert published == expect["hostnamePublished"]


def check_few_slices(given: dict, expect: dict) -> None:
    """Cases without pods: the placeholder slice."""
    service = service_of({"clusterIP": "10.0.0.10", "ipFamilies": ["IPv4"]})
    existing = []
    for number, row in enumerate(given["existingSlices"]):
        piece = new_slice(service, "IPv4", ())
        if row != "placeholder":
            ports = slice_ports(service, pod_of({"name": "pod0", "ip": "10.0.0.1"})) if row["ports"] else ()
            metadata = piece.metadata.model_copy(update={"labels": dict(row["labels"])})
            piece = piece.model_copy(update={"ports": ports, "metadata": metadata})
        existing.append(named(piece, f"slice-{number}"))
    plan = reconcile(service, [pod_of(row) for row in given["pods"]], NODES, existing)
    check_counts(plan, existing, expect)
    for row, piece in zip(expect.get("slices", ()), applied(existing, plan), strict="slices" in expect):
        assert (list(piece.ports), list(piece.endpoints)) == (row["ports"], row["endpoints"])


CLUSTER_IP_SERVICE = {"clusterIP": "10.0.0.10", "ipFamilies": ["IPv4"]}


def check_many_pods(given: dict, expect: dict) -> None:
    count = given["pods"]
    settings = SliceSettings(given.get("maxEndpointsPerSlice", 100))
    service = service_of(CLUSTER_IP_SERVICE)
    pods = [pod_of(row) for row in pods_of(count, nodeName=NODE)]
    existing = slices_of(service, pods, given.get("existingSliceLengths", []))
    change = given.get("change", "")
    if "first reconcile: none" in change:
        assert reconcile(service, pods, NODES, existing, settings).writes == expect["firstReconcileWrites"]
    if "targetPort" in change:
        service = service_of({**CLUSTER_IP_SERVICE, "ports": [{"port": 80, "targetPort": 81}]})
    elif change == "service labels":
        service = service_of({**CLUSTER_IP_SERVICE, "labels": {"foo": "bar"}})
    elif "reserved labels" in change:
        labels = {"kubernetes.io/service-name": "bad", "endpointslice.kubernetes.io/managed-by": "actor"}
        service = service_of({**CLUSTER_IP_SERVICE, "labels": labels})
    else:
        assert not change, f"unknown change: {change}"
    check_counts(reconcile(service, pods, NODES, existing, settings), existing, expect)


def check_packing(given: dict, expect: dict) -> None:
    service = service_of(CLUSTER_IP_SERVICE)
    old = sum(given["existingSliceLengths"])
    rows = pods_of(old, nodeName=NODE)
    existing = slices_of(service, [pod_of(row) for row in rows], given["existingSliceLengths"])
    assert given["turnedNotReady"] == "every 10th pod"
    rows = [{**row, "ready": number % 10 != 0} for number, row in enumerate(rows)]
    rows += pods_of(given["newPods"], start=old, nodeName=NODE)
    check_counts(reconcile(service, [pod_of(row) for row in rows], NODES, existing), existing, expect)


def check_recreation(given: dict, expect: dict) -> None:
    service = service_of(CLUSTER_IP_SERVICE)
    other = service_of({**CLUSTER_IP_SERVICE, "uid": "another-uid"})
    pods = [pod_of(row) for row in pods_of(1, nodeName=NODE)]
    existing = slices_of(service if given["ownedByService"] else other, pods, [1])
    plan = reconcile(service, pods, NODES, existing)
    check_counts(plan, existing, expect)
    after = applied(existing, plan)
    assert (existing[0].metadata.name not in {piece.metadata.name for piece in after}) == expect["recreated"]


def check_missing_nodes(given: dict, expect: dict) -> None:
    service = service_of({**CLUSTER_IP_SERVICE, "publishNotReadyAddresses": given["publishNotReadyAddresses"]})
    ips = {row["name"]: f"10.0.0.{number + 1}" for number, row in enumerate(given["pods"])}
    pods = [pod_of({**row, "ip": ips[row["name"]]}) for row in given["pods"]]
    nodes = {name: node_of({"name": name}) for name in given["existingNodes"]}
    existing: list[EndpointSlice] = []
    if given["existingSlice"] is not None:
        rows = pods if "both" in given["existingSlice"] else pods[:1]
        existing = slices_of(service, rows, [len(rows)])
    plan = reconcile(service, pods, nodes, existing)
    check_counts(plan, existing, expect)
    after = applied(existing, plan)
    assert len(after) == expect["slices"]
    before = {endpoint.addresses for piece in existing for endpoint in piece.endpoints}
    now = {endpoint.addresses for piece in after for endpoint in piece.endpoints}
    assert len(now) == expect["desiredEndpoints"]
    assert (len(now - before), len(before - now)) == (expect["added"], expect["removed"])
    assert bool(plan.missing_nodes) == expect["reconcileError"]


def _zone_node(name: str, zone: str) -> Node:
    return node_of({"name": name, "labels": {"topology.kubernetes.io/zone": zone}})


def _hint_counts(slices: Iterable[EndpointSlice]) -> tuple[Counter[str], Counter[str], int]:
    """Endpoints by zone hint ('' without), by node hint, and how many are hinted for another zone than their own."""
    zones: Counter[str] = Counter()
    nodes: Counter[str] = Counter()
    crossing = 0
    for piece in slices:
        for endpoint in piece.endpoints:
            hinted = [zone.name for zone in endpoint.hints.for_zones] if endpoint.hints else []
            zones[hinted[0] if hinted else ""] += 1
            crossing += bool(hinted) and hinted[0] != endpoint.zone
            for node in endpoint.hints.for_nodes if endpoint.hints else ():
                nodes[node.name] += 1
    return zones, nodes, crossing


def check_topology(given: dict, expect: dict) -> None:
    cluster = given["cluster"]
    zones = [f"zone-{letter}" for letter in "abcdefghij"[: cluster["zones"]]]
    per_zone = cluster["nodesPerZone"]
    nodes = {f"{zone}-{number}": _zone_node(f"{zone}-{number}", zone) for zone in zones for number in range(per_zone)}
    ratios = cpu_ratios([NodeShare(zone, int(cluster["nodeCPU"].partition("m")[0])) for zone in zones for _ in range(per_zone)])
    places = [f"{zone}-{number}" for zone, count in given["endpointsPerZone"].items() for number in range(count)]
    pods = [pod_of({**row, "nodeName": place}) for row, place in zip(pods_of(len(places)), places, strict=True)]
    service = service_of({**CLUSTER_IP_SERVICE, "annotations": given["annotation"]})
    count = given["existingSlices"]
    share = -(-len(pods) // count)
    existing = slices_of(service, pods, [len(pods[start : start + share]) for start in range(0, len(pods), share)], nodes)
    settings = SliceSettings(cpu_ratios=ratios if given["topologyCacheEnabled"] else None)
    plan = reconcile(service, pods, nodes, existing, settings)
    check_counts(plan, existing, expect)
    hints, _, crossing = _hint_counts(applied(existing, plan))
    assert ({zone: number for zone, number in hints.items() if zone} or None) == expect["hintsPerZone"]
    assert crossing == expect["crossZoneHints"]


def check_traffic_distribution(given: dict, expect: dict) -> None:
    nodes = {row["name"]: _zone_node(row["name"], row["zone"]) for row in given["nodes"]}
    ratios = cpu_ratios([NodeShare(row["zone"], int(row["cpu"].removesuffix("m"))) for row in given["nodes"]])
    names = [(name, row["name"]) for row in given["nodes"] for name in row["pods"]]
    rows = zip(pods_of(len(names)), names, strict=True)
    pods = [pod_of({**row, "name": name, "nodeName": node}) for row, (name, node) in rows]
    asked = given["service"]
    distribution = asked["trafficDistribution"]
    if not given["featureGates"].get("PreferSameTrafficDistribution", True) and distribution != "PreferClose":
        distribution = None
    service = service_of({**CLUSTER_IP_SERVICE, "trafficDistribution": distribution, "annotations": asked.get("annotations")})
    plan = reconcile(service, pods, nodes, [], SliceSettings(cpu_ratios=ratios))
    check_counts(plan, [], expect)
    zones, by_node, crossing = _hint_counts(plan.create)
    assert sum(zones.values()) == expect["endpoints"]
    assert dict(zones) == expect["zoneHintCounts"]
    assert dict(by_node) == (expect["nodeHintCounts"] or {})
    assert crossing == expect["crossZoneHints"]


def check_finalise(given: dict, expect: dict) -> None:
    service = service_of({**CLUSTER_IP_SERVICE, "deletionTimestamp": given["service"]["deletionTimestamp"]})

    def pieces(names: list[str]) -> list[EndpointSlice]:
        return [named(new_slice(service, "IPv4", ()), name) for name in names]

    plan = SlicePlan()
    finalise(service, pieces(given["slicesToCreate"]), pieces(given["slicesToUpdate"]), pieces(given["slicesToDelete"]), plan)
    present = set(given["existingSlices"]) - {piece.metadata.name for piece in plan.delete}
    present |= {piece.metadata.name for piece in plan.create}
    assert {piece.metadata.name for piece in plan.update} <= set(given["existingSlices"])
    assert {name: name in present for name in expect["exists"]} == expect["exists"]


def check_placeholder_compare(given: dict, expect: dict) -> None:
    def piece(row: dict | None) -> EndpointSlice | None:
        if row is None:
            return None
        own = {name: row[name] for name in ("addressType", "endpoints", "ports") if name in row}
        metadata = {name: value for name, value in row.items() if name not in own}
        return EndpointSlice.model_validate({"metadata": metadata, **own})

    one, other = piece(given["x"]), piece(given["y"])
    equal = one is other if one is None or other is None else is_placeholder(one, other)
    assert equal == expect["equal"]


def check_pod_to_endpoint(given: dict, expect: dict) -> None:
    node = node_of(given["node"]) if given["node"] else None
    family = "IPv6" if any(":" in address for address in expect["addresses"]) else "IPv4"
    pod = pod_of({**given["pod"], "namespace": "test"})
    endpoint = endpoint_of(pod, service_of(given["service"]), family, node.zone if node else "")
    assert endpoint is not None
    actual = plain(endpoint)
    assert _agrees(expect, actual), actual
    assert [name for name in ("zone", "hostname") if name in actual] == [n for n in ("zone", "hostname") if n in expect]


def check_endpoint_ports(given: dict, expect: dict) -> None:
    service = service_of({**CLUSTER_IP_SERVICE, "ports": given["servicePorts"]})
    pod = pod_of({"name": "pod0", "ip": "10.0.0.1", **{name: given[name] for name in ("containers", "initContainers")}})
    made = [port.model_dump(by_alias=True, exclude_none=True) for port in slice_ports(service, pod)]
    assert sorted(made, key=str) == sorted(expect["ports"], key=str)


def check_find_port(given: dict, expect: dict) -> None:
    pod = pod_of({"name": "pod0", "ip": "10.0.0.1", **{name: given[name] for name in ("containers", "initContainers")}})
    found = find_port(pod, ServicePort.model_validate({"port": 1, **given["servicePort"]}))
    assert (found is not None) == expect["found"]
    assert (found or 0) == expect["port"]


def check_address_types(given: dict, expect: dict) -> None:
    row = {name: value for name, value in given["service"].items() if value != ""}
    assert sorted(address_types(service_of(row))) == sorted(expect["addressTypes"])


WORDS = {"second": 2, "third": 3, "fourth": 4, "fifth": 5, "tenth": 10}


def _described(given: dict) -> str:
    """Everything that a case says in words."""
    return "; ".join(str(value) for value in given.values() if isinstance(value, str | int))


def check_publish_not_ready(given: dict, expect: dict) -> None:
    """So many pods, every nth not ready, of a Service that publishes what is not ready: every endpoint is ready."""
    text = _described(given)
    count = given["pods"] if isinstance(given.get("pods"), int) else int(re.search(r"(\d+) (?:\w+ )?pods", text)[1])
    nth = re.search(r"every (\w+?)(?:th)? (?:pod )?(?:is |not |un)", text)
    every = WORDS.get(nth[1]) or int(nth[1]) if nth else 3
    rows = [{**row, "ready": number % every != 0} for number, row in enumerate(pods_of(count, nodeName=NODE))]
    service = service_of({**CLUSTER_IP_SERVICE, "publishNotReadyAddresses": True})
    plan = reconcile(service, [pod_of(row) for row in rows], NODES, [])
    check_counts(plan, [], expect)
    ready = [endpoint.conditions.ready for piece in plan.create for endpoint in piece.endpoints]
    assert len(ready) == count
    assert all(ready)


def check_named_ports(given: dict, expect: dict) -> None:
    """A named target port stands for several numbers: a slice for each."""
    text = _described(given)
    count = given["pods"] if isinstance(given.get("pods"), int) else int(re.search(r"(\d+) (?:\w+ )?pods", text)[1])
    numbers = _port_numbers(given) or [8080 + number for number in range(len(expect.get("sliceLengths", range(5))))]
    rows = [
        {**row, "containers": [[{"name": "http", "containerPort": numbers[number % len(numbers)], "protocol": "TCP"}]]}
        for number, row in enumerate(pods_of(count, nodeName=NODE))
    ]
    service = service_of({**CLUSTER_IP_SERVICE, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]})
    plan = reconcile(service, [pod_of(row) for row in rows], NODES, [])
    check_counts(plan, [], expect)
    assert sorted(port.port or 0 for piece in plan.create for port in piece.ports) == sorted(numbers)


def _port_numbers(given: dict) -> list[int]:
    lists = [value for value in given.values() if isinstance(value, list) and all(isinstance(each, int) for each in value)]
    return next((value for value in lists if value and min(value) > 1000), [])


def check_replaced_type(given: dict, expect: dict) -> None:
    """Slices of an address type that the Service does not have are replaced, not updated."""
    lengths = given["existingSliceLengths"]
    count = given["pods"] if isinstance(given.get("pods"), int) else sum(lengths)
    service = service_of(CLUSTER_IP_SERVICE)
    pods = [pod_of(row) for row in pods_of(count, nodeName=NODE)]
    existing = [piece.model_copy(update={"address_type": "FQDN"}) for piece in slices_of(service, pods, lengths)]
    check_counts(reconcile(service, pods, NODES, existing), existing, expect)


CHECKS = {
    "TestReconcile1EndpointSlicePublishNotReadyAddresses": check_publish_not_ready,
    "TestReconcileEndpointSlicesNamedPorts": check_named_ports,
    "TestReconcileEndpointSlicesReplaceDeprecated": check_replaced_type,
    "TestReconcile1Pod": check_one_pod,
    "TestReconcileEmpty": check_few_slices,
    "TestReconcile1EndpointSlice": check_few_slices,
    "TestReconcileManyPods": check_many_pods,
    "TestReconcileEndpointSlicesSomePreexisting": check_many_pods,
    "TestReconcileEndpointSlicesSomePreexistingWorseAllocation": check_many_pods,
    "TestReconcileEndpointSlicesUpdating": check_many_pods,
    "TestReconcileEndpointSlicesServicesLabelsUpdating": check_many_pods,
    "TestReconcileEndpointSlicesServicesReservedLabels": check_many_pods,
    "TestReconcileEndpointSlicesRecycling": check_many_pods,
    "TestReconcileMaxEndpointsPerSlice": check_many_pods,
    "TestReconcileEndpointSlicesUpdatePacking": check_packing,
    "TestReconcileEndpointSlicesRecreation": check_recreation,
    "TestReconcilerPodMissingNode": check_missing_nodes,
    "TestReconcileTopology": check_topology,
    "TestReconcile_TrafficDistribution": check_traffic_distribution,
    "TestReconcilerFinalizeSvcDeletionTimestamp": check_finalise,
    "TestPlaceHolderSliceCompare": check_placeholder_compare,
    "TestPodToEndpoint": check_pod_to_endpoint,
    "TestGetEndpointPorts": check_endpoint_ports,
    "TestFindPort": check_find_port,
    "TestSupportedServiceAddressType": check_address_types,
}
