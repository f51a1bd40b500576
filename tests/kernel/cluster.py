"""A cluster with a Service of each kind and policy, and the flows that ask for them, in either family.

The node is `n0`. Names say what a Service is: `local-*` and `far-*` tell where its endpoints are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.settings import LOOPBACK, Mode, ProxySettings
from svcsim.linux.address import Prefix, parse_address
from svcsim.linux.packet import TCP, UDP
from tests.kernel.network import Plan
from tests.kernel.traffic import Flow

PORTS = (80, 81)
TARGET_PORTS = (8080, 8081)
NODE_PORTS = tuple(range(30001, 30033))
PROXY_PORTS = tuple(range(35000, 35040))
LISTENED = (*PORTS, *TARGET_PORTS, *NODE_PORTS, *PROXY_PORTS)
STICKY_S = 600

GONE = {"ready": False, "serving": False, "terminating": True}
LEAVING = {"ready": False, "serving": True, "terminating": True}
UNREADY = {"ready": False, "serving": False, "terminating": False}


def settings(plan: Plan, mode: Mode, **changes: Any) -> ProxySettings:
    """How the node is set up."""
    usual = ProxySettings(
        mode=mode,
        family=plan.family,
        node_name="n0",
        node_ip=parse_address(plan.node),
        local_ips=(parse_address(plan.node), parse_address(plan.second)),
        local_detector="ByCIDR",
        cluster_cidr=Prefix.parse(plan.pod_block),
        service_cidrs=(Prefix.parse(plan.service_block),),
    )
    return replace(usual, **changes)


SET_UPS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "masqueradeAll": {"masquerade_all": True},
    "no detector of pods": {"local_detector": "NoOp", "cluster_cidr": None},
    "node ports on one block, not on localhost": {"localhost_nodeports": False},
    "node ports on loopback alone": {},
    "TCP liberal, not random fully": {"conntrack_tcp_liberal": True, "random_fully": False},
}


def set_up(plan: Plan, mode: Mode, name: str) -> ProxySettings:
    """One of `SET_UPS`."""
    changes = dict(SET_UPS[name])
    if name == "node ports on one block, not on localhost":
        changes["nodeport_addresses"] = (Prefix.parse(plan.node_block),)
    elif name == "node ports on loopback alone":
        changes["nodeport_addresses"] = (LOOPBACK[plan.family],)
    elif name == "masqueradeAll":
        changes["nodeport_addresses"] = (Prefix.parse("::/0" if plan.bits == 128 else "0.0.0.0/0"),)
    return settings(plan, mode, **changes)


@dataclass
class Cluster:
    """Services, slices, and the addresses and ports by which each Service is asked for."""

    plan: Plan
    objects: list[Service | EndpointSlice] = field(default_factory=list)
    doors: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    """Service -> (address or empty for a node port, port, protocol)."""

    def add(
        self, name: str, *endpoints: str | tuple[str, dict[str, bool]], protocol: str = "TCP", ranges: tuple[str, ...] = (),
        external: bool | str = False, balancer: bool = False, proxied: bool = False, node_port: bool = False,
        health: bool = False, port: int = PORTS[0], **spec: Any,
    ) -> None:
        """A Service of one port, with endpoints: an address, or an address with its conditions. `external` may be the address."""
        plan, number = self.plan, len(self.doors) + 1
        kind = "LoadBalancer" if balancer else "NodePort" if node_port else "ClusterIP"
        cluster_ip = f"{plan.vip}{number}"
        port_spec: dict[str, Any] = {"name": "p", "protocol": protocol, "port": port}
        number_of_protocol = TCP if protocol == "TCP" else UDP
        doors = [(cluster_ip, port, number_of_protocol)]
        if kind != "ClusterIP":
            port_spec["nodePort"] = 30000 + number
            doors.append(("", 30000 + number, number_of_protocol))
        body: dict[str, Any] = {"type": kind, "clusterIP": cluster_ip, "ports": [port_spec], **spec}
        if external:
            address = external if isinstance(external, str) else f"{plan.external}{number}"
            body["externalIPs"] = [address]
            doors.append((address, port, number_of_protocol))
        if health:
            body["healthCheckNodePort"] = NODE_PORTS[-1]
        ingress: list[dict[str, Any]] = []
        if balancer:
            ingress = [{"ip": f"{plan.balancer}{number}", "ipMode": "Proxy" if proxied else "VIP"}]
            body["loadBalancerSourceRanges"] = list(ranges)
            doors.append((f"{plan.balancer}{number}", port, number_of_protocol))
        self.objects.append(
            Service.model_validate(
                {
                    "metadata": {"namespace": "ns", "name": name},
                    "spec": body,
                    "status": {"loadBalancer": {"ingress": ingress}},
                }
            )
        )
        self.objects.append(slice_of(plan, name, endpoints, protocol))
        self.doors[name] = doors


def slice_of(
    plan: Plan, name: str, endpoints: tuple[str | tuple[str, dict[str, bool]], ...], protocol: str = "TCP"
) -> EndpointSlice:
    """The slice of a Service; an endpoint's node follows from its address."""
    found = []
    for each in endpoints:
        address, conditions = (each, {}) if isinstance(each, str) else each
        here = address in plan.pods or address == plan.node
        found.append({"addresses": [address], "nodeName": "n0" if here else "n1", "conditions": conditions})
    return EndpointSlice.model_validate(
        {
            "metadata": {"namespace": "ns", "name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
            "addressType": plan.family,
            "endpoints": found,
            "ports": [{"name": "p", "port": TARGET_PORTS[0], "protocol": protocol}],
        }
    )


def affinity(seconds: int) -> dict[str, Any]:
    """The part of a Service's spec that keeps a client with its endpoint."""
    return {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}


def whole_cluster(plan: Plan) -> Cluster:
    """A Service of each kind."""
    cluster = Cluster(plan)
    here, there = plan.pods[:2], plan.far[:2]
    mixed = (here[0], here[1], there[0])
    inside, outside = {"internalTrafficPolicy": "Local"}, {"externalTrafficPolicy": "Local"}
    sticky = affinity(STICKY_S)
    cluster.add("cluster-ip", *mixed)
    cluster.add("datagrams", *mixed, protocol="UDP", node_port=True, external=True)
    cluster.add("node-port", *mixed, node_port=True, external=True)
    cluster.add("empty", node_port=True, external=True, balancer=True)
    cluster.add("empty-datagrams", protocol="UDP", node_port=True)
    cluster.add("unready", (here[0], UNREADY), (there[0], UNREADY), node_port=True)
    cluster.add("inside-local", *mixed, **inside)
    cluster.add("inside-local-nowhere", *there, **inside)
    cluster.add("outside-local", here[0], *there, node_port=True, external=True, health=True, **outside)
    cluster.add("outside-local-nowhere", *there, node_port=True, external=True, balancer=True, **outside)
    cluster.add("both-local-datagrams", here[1], there[1], protocol="UDP", node_port=True, **inside, **outside)
    cluster.add("leaving", (here[0], LEAVING), (there[0], LEAVING), (there[1], GONE), node_port=True)
    cluster.add("leaving-here", (here[0], LEAVING), (here[1], GONE), there[0], node_port=True, **outside)
    cluster.add("balanced", *mixed, balancer=True)
    cluster.add("balanced-by-proxy", *mixed, balancer=True, proxied=True)
    cluster.add("ranges", *mixed, balancer=True, ranges=(plan.near_block,))
    cluster.add("ranges-with-node", *mixed, balancer=True, ranges=(plan.near_block, plan.node_block))
    cluster.add("ranges-local", here[0], there[0], balancer=True, ranges=(plan.near_block, plan.pod_block), **outside)
    cluster.add("host-network", plan.node, there[0], node_port=True)
    cluster.add("hairpin", here[0], node_port=True)
    cluster.add("sticky", *here, *there, node_port=True, **sticky)
    cluster.add("sticky-datagrams", *here, *there, protocol="UDP", **sticky)
    cluster.add("many", *plan.pods, *plan.far[:5])
    return cluster


def origins(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Namespaces and sources where flows begin."""
    return (
        ("client", plan.client),
        ("pod-a", plan.pods[0]),
        ("peer", plan.peer_pod),
        ("peer", plan.peer_node),
        ("outside", plan.near),
        ("outside", plan.barred),
        ("node", plan.node),
        ("node", plan.second),
        ("node", plan.loopback),
    )


def routable(flow: Flow, plan: Plan) -> bool:
    """Whether such a packet can exist: loopback addresses stay on the node, and what has the source ::1 cannot leave it even
    if it is translated (which is why kube-proxy has localhost node ports for IPv4 alone)."""
    if flow.source == plan.loopback:
        return flow.destination in ((plan.loopback,) if plan.bits == 128 else (plan.loopback, plan.node, plan.second))
    return flow.destination != plan.loopback


def flows(cluster: Cluster) -> Iterator[tuple[str, Flow]]:
    """Each Service by each of its doors from each origin; then addresses and ports that are nobody's."""
    plan = cluster.plan
    nodes = (plan.node, plan.second, plan.loopback)
    for origin, source in origins(plan):
        for name, doors in cluster.doors.items():
            for address, port, protocol in doors:
                for destination in (address,) if address else nodes:
                    flow = Flow(origin, source, destination, port, protocol)
                    if routable(flow, plan):
                        yield name, flow
        wrong_port, unallocated = f"{plan.vip}1", f"{plan.vip}99"
        for destination, port, protocol in (
            (wrong_port, 81, TCP), (wrong_port, 80, UDP), (unallocated, 80, TCP),
            (plan.pods[1], 8080, TCP), (plan.pods[1], 8080, UDP), (plan.far[0], 8080, TCP),
            (plan.node, 81, TCP), (plan.node, NODE_PORTS[-1], TCP), (plan.second, 30001, UDP),
        ):  # fmt: skip
            flow = Flow(origin, source, destination, port, protocol)
            if routable(flow, plan):
                yield "nobody", flow
