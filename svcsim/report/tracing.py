"""One packet through a world as it stands: decided on each node that it crosses, with what each examined rule costs there.

The outcome is the one that the packet path would come to; nothing is sent, and the world is of no further use for a run, since a
walk leaves its marks in affinity and IPVS state as a packet does.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Charges, Host, Namespace, NoRules
from svcsim.errors import UsageError
from svcsim.faults.owners import pods_of
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.userspace_proxy import ProxyPort
from svcsim.kubeproxy.userspace_udp import UdpProxyPort
from svcsim.linux.address import format_address, format_endpoint, parse_address
from svcsim.linux.flow_text import format_packet
from svcsim.linux.packet import PROTOCOL_NAME, TCP, Decision, Hook, Packet, Step, Verdict
from svcsim.linux.ports import FIRST_PORT
from svcsim.report.packet_way import Charge, NodeLeg, PacketWay, ReturnLeg, return_legs
from svcsim.scenario.target import parse_target
from svcsim.spelling import nearest
from svcsim.world.world import World

SERVICE_LISTS = {
    ("nat", "KUBE-SERVICES"), ("nat", "KUBE-NODEPORTS"), ("nat", "KUBE-PORTALS-CONTAINER"), ("nat", "KUBE-PORTALS-HOST"),
    ("nat", "KUBE-NODEPORT-CONTAINER"), ("nat", "KUBE-NODEPORT-HOST"),
}


def source_of(world: World, text: str) -> Namespace:
    """The network namespace that `pod/NAME`, `deployment/NAME[i]`, `node/NAME` or `outside/NAME` means; UsageError if none."""
    try:
        target = parse_target(text)
    except ValueError as error:
        raise UsageError(f"--from: {error}") from error
    if target.kind in ("node", "outside"):
        hosts = {host.name: host for host in world.network.fabric.hosts if host.is_node == (target.kind == "node")}
        host = hosts.get(target.name)
        if host is None:
            raise UsageError(f"--from: there is no {target}{nearest(target.name, hosts)}")
        return host.namespace
    running = world.containers.running
    for pod in pods_of(world.store, target):
        if pod.metadata.key in running:
            return running[pod.metadata.key].namespace
    prefix = f"{target.namespace}/{target.name}".rstrip("*")
    started = [key for key in running if target.kind == "pod" and key.startswith(prefix)]
    if started:
        return running[started[0]].namespace
    names = [key.partition("/")[2] for key in running]
    raise UsageError(f"--from: no pod runs that is {target}{nearest(target.name, names)}")


def destination_of(world: World, text: str, protocol: str, family: str | None = None) -> tuple[int, int, str]:
    """Address, port and words for `web:80`, `web.shop:http` or `10.0.0.1:80`; UsageError if nothing is meant."""
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise UsageError(f"--to takes HOST:PORT, as web:80 or 10.96.0.10:53 (got {text!r})")
    try:
        literal = str(ip_address(host.strip("[]")))
    except ValueError:
        literal = ""
    if literal:
        if not port_text.isdecimal() or not 0 < int(port_text) < 65536:
            raise UsageError(f"--to: an address takes a port from 1 to 65535, as {host}:80 (got {port_text!r})")
        return parse_address(literal), int(port_text), text
    labels = host.split(".")
    name, namespace = labels[0], labels[1] if len(labels) > 1 else "default"
    service = world.store.get(Service, f"{namespace}/{name}")
    if service is None:
        known = [each.metadata.name for each in world.store.each(Service)]
        raise UsageError(f"--to: there is no Service {namespace}/{name}{nearest(name, known)}")
    for port in service.spec.ports:
        if port.protocol == protocol and port_text in (str(port.port), port.name):
            if not service.spec.cluster_ip or service.spec.is_headless:
                raise UsageError(f"--to: Service {namespace}/{name} has no cluster IP; name a pod's address instead")
            addresses = service.spec.cluster_ips or (service.spec.cluster_ip,)
            chosen = next((each for each in addresses if family is None or (":" in each) == (family == "IPv6")), None)
            if chosen is None:
                listed = ", ".join(addresses)
                raise UsageError(f"--family: Service {namespace}/{name} has no cluster IP of {family} (it has {listed})")
            return parse_address(chosen), port.port, f"{namespace}/{name}:{port.port}"
    offered = ", ".join(f"{port.port}/{port.protocol}" for port in service.spec.ports)
    raise UsageError(f"--to: Service {namespace}/{name} has no port {port_text}/{protocol} (it has {offered})")


def step_costs(
    charges: Charges, decision: Decision, steps: list[Step], protocol: int, conntrack_ns: int
) -> tuple[tuple[float, ...], tuple[Charge, ...]]:
    """What each step costs, and what belongs to none; together they are the cost of the first packet on the node."""
    rule_ns = charges.service_rule_tcp_ns if protocol == TCP else charges.service_rule_udp_ns
    costs: list[float] = []
    listed = statistic = 0
    for step in steps:
        if (step.table, step.chain) in SERVICE_LISTS and listed < decision.service_rules:
            listed += 1
            costs.append(rule_ns)
        elif "statistic" in step.rule and statistic < decision.statistic_rules:
            statistic += 1
            costs.append(charges.statistic_rule_tcp_ns if protocol == TCP else charges.statistic_rule_udp_ns)
        else:
            costs.append(0.0)
    cold_ns = charges.cold_ns(decision.endpoints)
    rest = charges.first_packet_ns(decision, protocol) - charges.forward_ns - conntrack_ns - cold_ns - sum(costs)
    charges_beside = [Charge("forwarding", charges.forward_ns), Charge("new conntrack entry", conntrack_ns)]
    if cold_ns:
        charges_beside.append(Charge(f"one of {decision.endpoints} endpoints, out of the cache", cold_ns))
    base = [i for i, cost in enumerate(costs) if cost == 0.0]
    for i in base:
        # The measured premium of the base chains and of translation is one number: shared evenly by the rules that it is for.
        costs[i] = rest / len(base)
    if not base:
        charges_beside.append(Charge("base chains, translation", rest))
    return tuple(costs), tuple(charges_beside)


def trace(
    world: World, source: str, destination: str, *, protocol: int = TCP, uniform: float = 0.0, family: str | None = None
) -> PacketWay:
    """The way of a first packet, and of its answer."""
    namespace = source_of(world, source)
    address, port, words = destination_of(world, destination, PROTOCOL_NAME[protocol], family)
    fabric = world.network.fabric
    host: Host | None = namespace.host
    hook = Hook.OUTPUT if namespace.is_host else Hook.PREROUTING
    if not namespace.host.is_node:
        host, hook = fabric.entry_host(namespace.address, protocol, address, port, int(uniform * (1 << 53))), Hook.PREROUTING
    if host is None:
        raise UsageError(f"--to: nothing outside the cluster knows a way to {format_address(address)}; use a node's address")
    client = namespace.towards(address)
    if not client:
        raise UsageError(f"--to: {namespace.name} has no address of the family of {format_address(address)}")
    title = f"{world.label}: {namespace.name} ({format_endpoint(client, FIRST_PORT)}) to {words}"
    return _way(world, host, Packet(protocol, client, FIRST_PORT, address, port, hook), uniform, title)


def trace_flow(world: World, packet: Packet, node: str = "", *, uniform: float = 0.0) -> PacketWay:
    """The way of any first packet that a node sees, and of its answer; without a node, that of its source is meant.

    A packet from the node's own address is sent by a process there, any other comes in by an interface.
    """
    hosts = {host.name: host for host in world.network.fabric.hosts if host.is_node}
    namespace = world.network.fabric.namespaces.get(packet.source)
    if not node and (namespace is None or not namespace.host.is_node):
        raise UsageError(f"--node says where the packet comes in: {format_address(packet.source)} is nobody's in this cluster")
    host = hosts.get(node) if node or namespace is None else namespace.host
    if host is None:
        raise UsageError(f"--node: there is no node {node!r}{nearest(node, hosts, listed=20)}")
    own = namespace is not None and namespace.is_host and namespace.host is host
    packet = packet._replace(hook=Hook.OUTPUT if own else Hook.PREROUTING)
    return _way(world, host, packet, uniform, f"{world.label}: {format_packet(packet)} on {host.name}")


def _way(world: World, host: Host, packet: Packet, uniform: float, title: str) -> PacketWay:
    fabric, now = world.network.fabric, world.clock.now
    protocol, client = packet.protocol, packet.source
    conntrack_ns = round(world.profile.entry("path.conntrack_new").base_value)
    legs = [_leg(host, packet, uniform, now, conntrack_ns)]
    back: list[list[Charge]] = [[_translation_back(host, legs[0].decision)]]
    if legs[0].decision.verdict is Verdict.DNAT:
        dialled = _dialled(world, host, legs[0], client)
        if dialled is not None:
            packet, work = dialled
            leg = _leg(host, packet, uniform, now, conntrack_ns)
            legs.append(replace(leg, charges=(*leg.charges, *work)))
            copies = Charge("kube-proxy copies the answer", world.costs.userspace.copy_ns)
            back.insert(0, [Charge("conntrack, forwarding", host.charges.plain_packet_ns), copies])
    decision = legs[-1].decision
    ending, answers = "", decision.verdict in (Verdict.NO_MATCH, Verdict.DNAT)
    if answers:
        target, ending, answers = _arrival(fabric, host, decision, protocol)
        if target is not None and target is not host and target.is_node:
            source_address, source_port, *_ = legs[-1].leaves
            rewritten = Packet(
                protocol, source_address, source_port, decision.destination, decision.destination_port, Hook.PREROUTING
            )
            legs.append(_leg(target, rewritten, uniform, now, conntrack_ns))
            back.insert(0, [Charge("conntrack, forwarding", target.charges.plain_packet_ns)])
    returns: tuple[ReturnLeg, ...] = return_legs(legs, back) if answers else ()
    return PacketWay(title, tuple(legs), returns, ending)


def _translation_back(host: Host, decision: Decision) -> Charge:
    if decision.verdict is Verdict.DNAT:
        masquerade_ns = host.charges.masquerade_packet_ns if decision.masquerade else 0
        return Charge("conntrack, translation back, forwarding", host.charges.nat_packet_ns + masquerade_ns)
    return Charge("conntrack, forwarding", host.charges.plain_packet_ns)


def _dialled(world: World, host: Host, leg: NodeLeg, client: int) -> tuple[Packet, list[Charge]] | None:
    """What the userspace proxy of a node sends to the endpoint whose turn it is; None if the packet does not end at the proxy."""
    protocol, decision = leg.packet.protocol, leg.decision
    port = host.namespace.listeners.get((protocol, decision.destination_port))
    if decision.destination not in host.namespace.addresses or not isinstance(port, ProxyPort | UdpProxyPort):
        return None
    chosen = port.pick(client, False)
    if chosen is None:
        return None
    costs = world.costs.userspace
    work = [Charge("kube-proxy accepts, chooses and dials", costs.accept_ns + costs.dial_ns)]
    if protocol != TCP:
        work = [Charge("kube-proxy chooses, and copies the datagram", costs.copy_ns)]
    return Packet(protocol, host.namespace.towards(chosen[0]), FIRST_PORT, *chosen, Hook.OUTPUT), work


def _arrival(fabric: Fabric, near: Host, decision: Decision, protocol: int) -> tuple[Host | None, str, bool]:
    """(the host that the packet gets to, what becomes of it there if not all is well, whether anything comes back)."""
    address = format_address(decision.destination)
    far = fabric.homes.get(decision.destination)
    if far is None:
        return None, f"nobody in this network has {address}: no answer", False
    if not far.up or (far is not near and fabric.route(near, far) is None):
        what = "is cut off" if far.up else "has no power"
        silence = "no answer" if fabric.settings.segment == "l3" else "no route, once the neighbour look-up has failed"
        return None, f"{far.name} {what}: {silence}", False
    namespace = fabric.namespaces.get(decision.destination)
    if namespace is None:
        silence = "no route" if fabric.settings.cni == "routed" else "no route, once the neighbour look-up has failed"
        return far, f"no pod on {far.name} has {address} any more: {silence}", False
    if (protocol, decision.destination_port) not in namespace.listeners:
        refusal = "a RST comes back" if protocol == TCP else "ICMP port unreachable comes back"
        return far, f"nothing listens on {format_endpoint(decision.destination, decision.destination_port)}: {refusal}", True
    return far, "", True


def _leg(host: Host, packet: Packet, uniform: float, now_ns: int, conntrack_ns: int) -> NodeLeg:
    if isinstance(host.path, NoRules):
        raise UsageError(f"{host.name} has no kube-proxy: no rules decide there")
    decision, steps = host.path.walk(packet, uniform, now_ns)
    costs, charges = step_costs(host.charges, decision, steps, packet.protocol, conntrack_ns)
    after = (host.namespace.towards(decision.destination), packet.source_port) if decision.masquerade else None
    return NodeLeg(host.name, packet, decision, tuple(steps), costs, charges, after)
