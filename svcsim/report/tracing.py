"""One packet through a world as it stands: decided on each node that it crosses, with what each examined rule costs there.

The outcome is the one that the packet path would come to; nothing is sent, and the world is of no further use for a run, since a
walk leaves its marks in affinity and IPVS state as a packet does.
"""

from __future__ import annotations

from ipaddress import ip_address

from svcsim.datapath.host import Charges, Host, Namespace, NoRules
from svcsim.errors import UsageError
from svcsim.faults.owners import pods_of
from svcsim.kube.api.service import Service
from svcsim.linux.address import format_address, format_endpoint, parse_address
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


def destination_of(world: World, text: str, protocol: str) -> tuple[int, int, str]:
    """Address, port and words for `web:80`, `web.shop:http` or `10.0.0.1:80`; UsageError if nothing is meant."""
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise UsageError(f"--to takes HOST:PORT, as web:80 or 10.96.0.10:53 (got {text!r})")
    try:
        literal = str(ip_address(host.strip("[]")))
    except ValueError:
        literal = ""
    if literal:
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
            return parse_address(service.spec.cluster_ip), port.port, f"{namespace}/{name}:{port.port}"
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
            costs.append(charges.statistic_rule_ns)
        else:
            costs.append(0.0)
    rest = charges.first_packet_ns(decision, protocol) - charges.forward_ns - conntrack_ns - sum(costs)
    base = [i for i, cost in enumerate(costs) if cost == 0.0]
    for i in base:
        # The measured premium of the base chains and of translation is one number: shared evenly by the rules that it is for.
        costs[i] = rest / len(base)
    return tuple(costs), (Charge("forwarding", charges.forward_ns), Charge("new conntrack entry", conntrack_ns))


def trace(world: World, source: str, destination: str, *, protocol: int = TCP, uniform: float = 0.0) -> PacketWay:
    """The way of a first packet, and of its answer."""
    namespace = source_of(world, source)
    address, port, words = destination_of(world, destination, PROTOCOL_NAME[protocol])
    fabric, now = world.network.fabric, world.clock.now
    host: Host | None = namespace.host
    hook = Hook.OUTPUT if namespace.is_host else Hook.PREROUTING
    if not namespace.host.is_node:
        host, hook = fabric.entry_host(address, namespace.host, uniform), Hook.PREROUTING
    if host is None:
        raise UsageError(f"--to: nothing outside the cluster knows a way to {format_address(address)}; use a node's address")
    packet = Packet(protocol, namespace.address, FIRST_PORT, address, port, hook)
    conntrack_ns = round(world.profile.entry("path.conntrack_new").base_value)
    legs = [_leg(host, packet, uniform, now, conntrack_ns)]
    decision = legs[0].decision
    back: list[list[Charge]] = []
    if decision.verdict in (Verdict.NO_MATCH, Verdict.DNAT):
        target = fabric.homes.get(decision.destination)
        if target is not None and target is not host and target.is_node:
            source_address, source_port, *_ = legs[0].leaves
            rewritten = Packet(
                protocol, source_address, source_port, decision.destination, decision.destination_port, Hook.PREROUTING
            )
            legs.append(_leg(target, rewritten, uniform, now, conntrack_ns))
            back.append([Charge("conntrack, forwarding", target.charges.plain_packet_ns)])
        cost = host.charges.nat_packet_ns if decision.verdict is Verdict.DNAT else host.charges.plain_packet_ns
        back.append([Charge("conntrack, translation back, forwarding", cost)])
    returns: tuple[ReturnLeg, ...] = return_legs(legs, back)
    title = f"{world.label}: {namespace.name} ({format_endpoint(namespace.address, FIRST_PORT)}) to {words}"
    return PacketWay(title, tuple(legs), returns)


def _leg(host: Host, packet: Packet, uniform: float, now_ns: int, conntrack_ns: int) -> NodeLeg:
    if isinstance(host.path, NoRules):
        raise UsageError(f"{host.name} has no kube-proxy: no rules decide there")
    decision, steps = host.path.walk(packet, uniform, now_ns)
    costs, charges = step_costs(host.charges, decision, steps, packet.protocol, conntrack_ns)
    after = (host.address, packet.source_port) if decision.masquerade else None
    return NodeLeg(host.name, packet, decision, tuple(steps), costs, charges, after)
