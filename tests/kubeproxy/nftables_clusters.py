"""Generated clusters, small and full of corner cases: endpoints on the node itself, claims of one address by several Services,
endpoints inside the Service block, every policy."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.settings import IPFamily, ProxySettings
from svcsim.linux.address import Address, Prefix, parse_address
from svcsim.linux.packet import SCTP, TCP, UDP, Hook, Packet

NODES = ("n0", "n1", "n2")


@dataclass(frozen=True)
class Plan:
    """Addresses of a generated cluster, as text, of one family."""

    family: IPFamily
    nodes: tuple[str, ...]
    pods: tuple[str, ...]
    pod_block: str
    service_block: str
    cluster_ips: tuple[str, ...]
    unallocated: str
    outside: tuple[str, ...]
    external: tuple[str, ...]
    ranges: tuple[str, ...]
    everything: str


PLANS = {
    "IPv4": Plan(
        "IPv4",
        ("192.168.0.10", "192.168.0.11", "192.168.0.12"),
        tuple(f"10.0.{node}.{pod}" for node in range(3) for pod in (1, 2)),
        "10.0.0.0/8",
        "172.30.0.0/16",
        ("172.30.0.1", "172.30.0.2", "172.30.0.3"),
        "172.30.9.9",
        ("203.0.113.2", "203.0.113.200", "198.51.100.7"),
        ("1.2.3.4", "5.6.7.8"),
        ("203.0.113.0/25", "192.168.0.0/24", "198.51.100.7/32"),
        "0.0.0.0/0",
    ),
    "IPv6": Plan(
        "IPv6",
        ("2001:db8::10", "2001:db8::11", "2001:db8::12"),
        tuple(f"fd00:10::{node}:{pod}" for node in range(3) for pod in (1, 2)),
        "fd00:10::/64",
        "fd00:30::/112",
        ("fd00:30::1", "fd00:30::2", "fd00:30::3"),
        "fd00:30::9",
        ("2600:5200::2", "2600:5200:1::2", "2600:6000::7"),
        ("2001:db8:1::1", "2001:db8:2::2"),
        ("2600:5200::/64", "2001:db8::/64", "2600:6000::7/128"),
        "::/0",
    ),
}
PORTS = (80, 443)


@st.composite
def proxy_settings(draw: st.DrawFn, plan: Plan) -> ProxySettings:
    """How node n0 is set up."""
    detects, matches_all = draw(st.booleans()), draw(st.booleans())
    return ProxySettings(
        mode="nftables",
        family=plan.family,
        node_name="n0",
        node_ip=parse_address(plan.nodes[0]),
        local_ips=(parse_address(plan.nodes[0]), parse_address(plan.external[0])),
        local_detector="ByCIDR" if detects else "NoOp",
        cluster_cidr=Prefix.parse(plan.pod_block) if detects else None,
        masquerade_all=draw(st.booleans()),
        nodeport_addresses=(Prefix.parse(plan.everything),) if matches_all else (),
        service_cidrs=(Prefix.parse(plan.service_block),) if draw(st.booleans()) else (),
    )


@st.composite
def services(draw: st.DrawFn, plan: Plan, index: int) -> Service:
    """Service number `index`."""
    kind = draw(st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")))
    protocol = draw(st.sampled_from(("TCP", "UDP")))
    ports = []
    for number in draw(st.lists(st.sampled_from(PORTS), min_size=1, max_size=2, unique=True)):
        node_port = 30000 + 10 * index + PORTS.index(number) if kind != "ClusterIP" else 0
        ports.append({"name": f"p{number}", "protocol": protocol, "port": number, "nodePort": node_port})
    policy = st.sampled_from((None, "Cluster", "Local"))
    spec = {
        "type": kind,
        "clusterIP": plan.cluster_ips[index],
        "ports": ports,
        "externalIPs": draw(st.lists(st.sampled_from(plan.external), max_size=1)),
        "externalTrafficPolicy": draw(policy),
        "internalTrafficPolicy": draw(policy),
    }
    ingress: list[str] = []
    if kind == "LoadBalancer":
        ingress = draw(st.lists(st.sampled_from(plan.external), max_size=2, unique=True))
        spec["loadBalancerSourceRanges"] = draw(st.lists(st.sampled_from(plan.ranges), max_size=2, unique=True))
    if draw(st.booleans()):
        timeout = draw(st.integers(1, 9))
        spec |= {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": timeout}}}
    return Service.model_validate(
        {
            "metadata": {"namespace": "ns", "name": f"s{index}"},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": [{"ip": address} for address in ingress]}},
        }
    )


@st.composite
def slices(draw: st.DrawFn, plan: Plan, index: int, service: Service) -> EndpointSlice:
    """The endpoints of Service number `index`: pods, nodes themselves, and now and then an address that is a Service's."""
    candidates = [(address, f"n{number // 2}") for number, address in enumerate(plan.pods)]
    candidates += [(address, f"n{number}") for number, address in enumerate(plan.nodes)]
    candidates += [(plan.cluster_ips[(index + 1) % 3], "n1"), (plan.unallocated, "n1"), (plan.external[1], "n2")]
    endpoints = []
    for address, node in draw(st.lists(st.sampled_from(candidates), max_size=4, unique=True)):
        conditions = draw(
            st.sampled_from(
                (
                    {},
                    {"ready": False, "serving": True, "terminating": True},
                    {"ready": False, "serving": False, "terminating": False},
                )
            )
        )
        endpoints.append({"addresses": [address], "nodeName": node, "conditions": conditions})
    ports = [
        {"name": port.name, "port": draw(st.sampled_from((8080, 80))), "protocol": port.protocol} for port in service.spec.ports
    ]
    return EndpointSlice.model_validate(
        {
            "metadata": {
                "namespace": "ns",
                "name": f"s{index}-1",
                "labels": {"kubernetes.io/service-name": f"s{index}"},
            },
            "addressType": plan.family,
            "endpoints": endpoints,
            "ports": ports,
        }
    )


def packets(plan: Plan) -> st.SearchStrategy[Packet]:
    """First packets that a node may meet: from pods, nodes and outside, to whatever has an address."""
    source = st.sampled_from((*plan.pods, plan.nodes[0], plan.nodes[1], *plan.outside, plan.external[0])).map(parse_address)
    destination = st.sampled_from(
        (*plan.cluster_ips, *plan.external, *plan.nodes, plan.unallocated, plan.pods[0])
    ).map(parse_address)
    port = st.sampled_from((*PORTS, 8080, *(30000 + 10 * index + number for index in range(3) for number in range(2))))
    return st.builds(
        packet, st.sampled_from((TCP, TCP, UDP, SCTP)), source, destination, port, st.sampled_from(tuple(Hook))
    )


def packet(protocol: int, source: Address, destination: Address, port: int, hook: Hook) -> Packet:
    """A first packet."""
    return Packet(protocol, source, 40000, destination, port, hook)
