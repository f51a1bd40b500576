"""Generated clusters for the laws of a packet path: Services of all kinds that collide at times, and packets that meet them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from svcsim.kube.api.base import ObjectMeta
from svcsim.kube.api.endpoints import (
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForZone,
)
from svcsim.kube.api.service import (
    ClientIPConfig,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
    SessionAffinityConfig,
)
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import Prefix, parse_address
from svcsim.linux.packet import PROTOCOL_NUMBER, Hook, Packet

NODE = "here"
NODE_IP = "192.168.0.2"
CLUSTER_IPS = ("172.30.0.1", "172.30.0.2", "172.30.0.3")
EXTERNAL_IPS = ("203.0.113.1", "203.0.113.2", NODE_IP)
BALANCER_IPS = ("198.51.100.1", "198.51.100.2")
PODS = ("10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.2.2", NODE_IP)
SOURCES = (*PODS, "10.0.1.9", "8.8.8.8", "127.0.0.1", *BALANCER_IPS)
PORTS = (80, 81, 30000)
PROTOCOLS = ("TCP", "UDP")
RANGES = ("8.0.0.0/8", "10.0.0.0/16", "192.168.0.0/24", "0.0.0.0/0")

some = st.sampled_from
policies = some((None, "Cluster", "Local"))


@st.composite
def services(draw: st.DrawFn, name: str) -> Service:
    """A Service of any kind; several may claim the same address."""
    kind = draw(some(("ClusterIP", "NodePort", "LoadBalancer")))
    node_port = (lambda: draw(some((0, *PORTS)))) if kind != "ClusterIP" else (lambda: 0)
    chosen = draw(st.lists(st.tuples(some(PORTS), some(PROTOCOLS)), min_size=1, max_size=2, unique=True))
    affinity: dict[str, Any] = {}
    if draw(st.booleans()):
        config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=10))
        affinity = {"session_affinity": "ClientIP", "session_affinity_config": config}
    spec = ServiceSpec(
        type=kind,
        cluster_ip=draw(some(CLUSTER_IPS)),
        ports=tuple(
            ServicePort(name=f"p{number}", port=port, protocol=protocol, node_port=node_port())
            for number, (port, protocol) in enumerate(chosen)
        ),
        external_ips=tuple(draw(st.lists(some(EXTERNAL_IPS), max_size=2, unique=True))),
        internal_traffic_policy=draw(policies),
        external_traffic_policy=draw(policies),
        health_check_node_port=draw(some((0, 30000))),
        load_balancer_source_ranges=tuple(draw(st.lists(some(RANGES), max_size=2))) if kind == "LoadBalancer" else (),
        **affinity,
    )
    addresses = draw(st.lists(some(BALANCER_IPS), max_size=2, unique=True)) if kind == "LoadBalancer" else []
    status = LoadBalancerStatus(ingress=tuple(LoadBalancerIngress(ip=address) for address in addresses))
    return Service(
        metadata=ObjectMeta(namespace="ns", name=name), spec=spec, status=ServiceStatus(load_balancer=status)
    )


@st.composite
def slices(draw: st.DrawFn, name: str, number: int = 1) -> EndpointSlice:
    """A slice of a Service, with endpoints here and there in all conditions."""
    addresses = draw(st.lists(some(PODS), max_size=4, unique=True))
    hinted = draw(st.booleans())
    endpoints = []
    for address in addresses:
        ready = draw(some((True, True, False)))
        hints = EndpointHints(for_zones=(ForZone(name=draw(some(("a", "b")))),)) if hinted else None
        conditions = EndpointConditions(ready=ready, serving=draw(st.booleans()), terminating=draw(st.booleans()))
        node = draw(some((NODE, "there")))
        endpoints.append(Endpoint(addresses=(address,), conditions=conditions, node_name=node, hints=hints))
    ports = tuple(
        EndpointPort(name=f"p{each}", port=draw(some((8080, 80))), protocol=protocol)
        for each in range(2)
        for protocol in PROTOCOLS
    )
    labels = {SERVICE_NAME_LABEL: name}
    metadata = ObjectMeta(namespace="ns", name=f"{name}-{number}", labels=labels)
    return EndpointSlice(metadata=metadata, endpoints=tuple(endpoints), ports=ports)


@st.composite
def settings(draw: st.DrawFn, mode: str = "iptables") -> ProxySettings:
    """A node's settings, of all flavours."""
    blocks = draw(some(((), ("127.0.0.0/8",), ("192.168.0.0/16",), ("192.168.0.0/16", "127.0.0.0/8"), ("203.0.113.0/24",))))
    return ProxySettings(
        mode=mode,  # type: ignore[arg-type]
        node_name=NODE,
        node_ip=parse_address(NODE_IP),
        local_ips=(parse_address(NODE_IP), parse_address("192.168.1.2")),
        node_labels=(("topology.kubernetes.io/zone", "a"),),
        local_detector=draw(some(("ByCIDR", "NoOp"))),
        cluster_cidr=Prefix.parse("10.0.0.0/16"),
        masquerade_all=draw(st.booleans()),
        nodeport_addresses=tuple(Prefix.parse(block) for block in blocks),
        localhost_nodeports=draw(st.booleans()),
        conntrack_tcp_liberal=draw(st.booleans()),
        nfacct=draw(st.booleans()),
    )


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """A first packet, to a Service's address, the node or a pod."""
    destinations = (*CLUSTER_IPS, *EXTERNAL_IPS, *BALANCER_IPS, *PODS, NODE_IP, "127.0.0.1", "192.168.1.2")
    source = draw(some(SOURCES))
    return Packet(
        PROTOCOL_NUMBER[draw(some(PROTOCOLS))],
        parse_address(source),
        40000,
        parse_address(draw(some(destinations))),
        draw(some((*PORTS, 8080))),
        draw(some((Hook.PREROUTING, Hook.OUTPUT))),
    )
