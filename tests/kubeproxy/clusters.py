"""Generated clusters for the laws of a packet path: Services of all kinds that collide at times, and packets that meet them."""

from __future__ import annotations

from dataclasses import dataclass
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
    ForNode,
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
from svcsim.kubeproxy.settings import IPFamily, ProxySettings
from svcsim.linux.address import Prefix, parse_address
from svcsim.linux.ipvs.schedulers import SCHEDULERS
from svcsim.linux.packet import PROTOCOL_NUMBER, Hook, Packet

NODE = "here"
PORTS = (80, 81, 30000)
PROTOCOLS = ("TCP", "UDP", "SCTP")


@dataclass(frozen=True)
class Plan:
    """Addresses of a generated cluster, as text, of one family; the node's own are `node` and `second`."""

    family: IPFamily
    node: str
    second: str
    cluster_ips: tuple[str, ...]
    external: tuple[str, ...]
    balancers: tuple[str, ...]
    pods: tuple[str, ...]
    others: tuple[str, ...]
    loopback: str
    pod_block: str
    service_block: str
    ranges: tuple[str, ...]
    node_port_blocks: tuple[tuple[str, ...], ...]


IPV4 = Plan(
    family="IPv4",
    node="192.168.0.2",
    second="192.168.1.2",
    cluster_ips=("172.30.0.1", "172.30.0.2", "172.30.0.3"),
    external=("203.0.113.1", "203.0.113.2", "192.168.0.2"),
    balancers=("198.51.100.1", "198.51.100.2"),
    pods=("10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.2.2", "192.168.0.2"),
    others=("10.0.1.9", "8.8.8.8"),
    loopback="127.0.0.1",
    pod_block="10.0.0.0/16",
    service_block="172.30.0.0/16",
    ranges=("8.0.0.0/8", "10.0.0.0/16", "192.168.0.0/24", "0.0.0.0/0"),
    node_port_blocks=(
        (), ("127.0.0.0/8",), ("192.168.0.0/16",), ("192.168.0.0/16", "127.0.0.0/8"), ("203.0.113.0/24",), ("0.0.0.0/0",)
    ),
)
IPV6 = Plan(
    family="IPv6",
    node="2001:db8::2",
    second="2001:db8:1::2",
    cluster_ips=("fd00:30::1", "fd00:30::2", "fd00:30::3"),
    external=("2001:db8:113::1", "2001:db8:113::2", "2001:db8::2"),
    balancers=("2001:db8:100::1", "2001:db8:100::2"),
    pods=("fd00:10::1:1", "fd00:10::1:2", "fd00:10::2:1", "fd00:10::2:2", "2001:db8::2"),
    others=("fd00:10::1:9", "2600::8"),
    loopback="::1",
    pod_block="fd00:10::/64",
    service_block="fd00:30::/112",
    ranges=("2600::/16", "fd00:10::/64", "2001:db8::/64", "::/0"),
    node_port_blocks=((), ("::1/128",), ("2001:db8::/32",), ("2001:db8::/64", "::1/128"), ("2001:db8:113::/48",), ("::/0",)),
)
PLANS = {"IPv4": IPV4, "IPv6": IPV6}

some = st.sampled_from
policies = some((None, "Cluster", "Local"))


@st.composite
def services(draw: st.DrawFn, name: str, plan: Plan = IPV4) -> Service:
    """A Service of any kind; several may claim the same address."""
    kind = draw(some(("ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer")))
    node_port = (lambda: draw(some((0, *PORTS)))) if kind != "ClusterIP" else (lambda: 0)
    chosen = draw(st.lists(st.tuples(some(PORTS), some(PROTOCOLS)), min_size=1, max_size=2, unique=True))
    affinity: dict[str, Any] = {}
    if draw(st.booleans()):
        config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=10))
        affinity = {"session_affinity": "ClientIP", "session_affinity_config": config}
    ranges = st.one_of(st.just([]), st.lists(some(plan.ranges), min_size=1, max_size=2))
    spec = ServiceSpec(
        type=kind,
        cluster_ip=draw(some(plan.cluster_ips)),
        ports=tuple(
            ServicePort(name=f"p{number}", port=port, protocol=protocol, node_port=node_port())
            for number, (port, protocol) in enumerate(chosen)
        ),
        external_ips=tuple(draw(st.lists(some(plan.external), max_size=2, unique=True))),
        internal_traffic_policy=draw(policies),
        external_traffic_policy=draw(policies),
        health_check_node_port=draw(some((0, 30000))),
        load_balancer_source_ranges=tuple(draw(ranges)) if kind == "LoadBalancer" else (),
        **affinity,
    )
    addresses: list[str] = []
    if kind == "LoadBalancer":
        addresses = draw(st.lists(some(plan.balancers), min_size=draw(some((0, 1, 1))), max_size=2, unique=True))
    status = LoadBalancerStatus(ingress=tuple(LoadBalancerIngress(ip=address) for address in addresses))
    return Service(
        metadata=ObjectMeta(namespace="ns", name=name), spec=spec, status=ServiceStatus(load_balancer=status)
    )


@st.composite
def slices(draw: st.DrawFn, name: str, number: int = 1, plan: Plan = IPV4) -> EndpointSlice:
    """A slice of a Service, with endpoints here and there in all conditions."""
    addresses = draw(st.lists(some(plan.pods), max_size=4, unique=True))
    hinted = draw(some(("not", "zones", "nodes")))
    endpoints = []
    for address in addresses:
        ready = draw(some((True, True, False)))
        hints = None
        if hinted == "zones":
            hints = EndpointHints(for_zones=(ForZone(name=draw(some(("a", "b")))),))
        elif hinted == "nodes":
            hints = EndpointHints(for_nodes=(ForNode(name=draw(some((NODE, "there")))),))
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
    return EndpointSlice(metadata=metadata, address_type=plan.family, endpoints=tuple(endpoints), ports=ports)


@st.composite
def settings(draw: st.DrawFn, mode: str = "iptables", plan: Plan = IPV4) -> ProxySettings:
    """A node's settings, of all flavours."""
    blocks = draw(some(plan.node_port_blocks))
    return ProxySettings(
        mode=mode,  # type: ignore[arg-type]
        family=plan.family,
        node_name=NODE,
        node_ip=parse_address(plan.node),
        local_ips=(parse_address(plan.node), parse_address(plan.second)),
        node_labels=(("topology.kubernetes.io/zone", "a"),),
        local_detector=draw(some(("ByCIDR", "NoOp"))),
        cluster_cidr=Prefix.parse(plan.pod_block),
        masquerade_all=draw(st.booleans()),
        nodeport_addresses=tuple(Prefix.parse(block) for block in blocks),
        localhost_nodeports=draw(st.booleans()),
        conntrack_tcp_liberal=draw(st.booleans()),
        nfacct=draw(st.booleans()),
        service_cidrs=(Prefix.parse(plan.service_block),) if draw(st.booleans()) else (),
        prefer_same_node=draw(st.booleans()),
        scheduler=draw(some(sorted(SCHEDULERS))) if mode == "ipvs" else "rr",
    )


@st.composite
def packets(draw: st.DrawFn, plan: Plan = IPV4) -> Packet:
    """A first packet, to a Service's address, the node or a pod."""
    destinations = (*plan.cluster_ips, *plan.external, *plan.balancers, *plan.pods, plan.node, plan.loopback, plan.second)
    sources = (*plan.pods, *plan.others, plan.loopback, *plan.balancers)
    return Packet(
        PROTOCOL_NUMBER[draw(some(PROTOCOLS))],
        parse_address(draw(some(sources))),
        40000,
        parse_address(draw(some(destinations))),
        draw(some((*PORTS, 8080))),
        draw(some((Hook.PREROUTING, Hook.OUTPUT))),
    )
