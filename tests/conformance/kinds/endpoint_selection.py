"""endpoint-selection: which endpoints a node uses, by topology tests of kube-proxy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.service_ports import ServicePortInfo, ServicePortName
from svcsim.kubeproxy.topology import categorize
from svcsim.linux.address import parse_address, parse_endpoint

KIND = "endpoint-selection"
HERE = "test-node"


def _endpoint(given: dict[str, Any]) -> EndpointInfo:
    address, port = parse_endpoint(given["endpoint"])
    return EndpointInfo(
        address=address,
        port=port,
        node_name=HERE if given.get("isLocal") else "elsewhere",
        ready=given["ready"],
        serving=given.get("serving", given["ready"]),
        terminating=given.get("terminating", False),
        zone_hints=tuple(given.get("zoneHints") or ()),
        node_hints=tuple(given.get("nodeHints") or ()),
    )


def run(vector: dict) -> None:
    """Compare the three lists, in their order, and whether there are endpoints at all."""
    policy = vector["service"]
    port = ServicePortInfo(
        name=ServicePortName("ns", "svc", ""),
        cluster_ip=parse_address("172.30.0.1"),
        port=80,
        node_port=policy["nodePort"],
        internal_policy_local=policy["internalTrafficPolicy"] == "Local",
        external_policy_local=policy["externalTrafficPolicy"] == "Local",
    )
    labels = vector["nodeLabels"] or {}
    node = vector.get("nodeName") or labels.get("kubernetes.io/hostname") or HERE
    endpoints = tuple(sorted((_endpoint(each) for each in vector["endpoints"]), key=str))
    if node != HERE:
        endpoints = tuple(_moved(each, node) for each in endpoints)
    found = categorize(endpoints, port, node, labels.get("topology.kubernetes.io/zone", ""))
    expected = vector["expect"]
    lists = {"clusterEndpoints": found.cluster, "localEndpoints": found.local, "allEndpoints": found.reachable}
    for field, chosen in lists.items():
        texts = None if chosen is None else sorted(map(str, chosen))
        wanted = expected[field]
        assert texts == (None if wanted is None else sorted(wanted)), f"{field}: {texts}, not {wanted}"
    assert found.has_any == expected["hasAnyEndpoints"], f"hasAnyEndpoints: {found.has_any}"


def _moved(endpoint: EndpointInfo, node: str) -> EndpointInfo:
    return replace(endpoint, node_name=node) if endpoint.node_name == HERE else endpoint
