"""A node and what it talks to, as namespaces joined by veth pairs.

    client ─┐
    pod-a  ─┤                ┌─ far      (pods of another node)
    pod-b  ─┤  node          ├─ peer     (clients on another node: a pod and the node itself)
    pod-c  ─┘                └─ outside  (everything else)

All packets between two namespaces pass the node. Each namespace but the node takes any address that is routed to it for its own,
and sends from whatever address a socket names. Both ends of a pair have the same hardware address and use no ARP, so nothing
waits for a neighbour. The node has the same address on each of its interfaces, which is what it masquerades to; a second one is
on an interface that leads nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.kubeproxy.settings import IPFamily
from tests.kernel.namespaces import Namespace

_TABLE = "100"
OTHERS = ("client", "pod-a", "pod-b", "pod-c", "far", "peer", "outside")


@dataclass(frozen=True)
class Plan:
    """Addresses of one family. `second` is another address of the node; `routes` are blocks by namespace."""

    family: IPFamily
    node: str
    second: str
    loopback: str
    client: str
    pods: tuple[str, str, str]
    far: tuple[str, ...]
    peer_pod: str
    peer_node: str
    near: str
    barred: str
    routes: tuple[tuple[str, str], ...]
    pod_block: str
    node_block: str
    near_block: str
    service_block: str
    vip: str
    external: str
    balancer: str
    bits: int


PLANS = {
    "IPv4": Plan(
        family="IPv4",
        node="192.168.50.1",
        second="192.168.60.1",
        loopback="127.0.0.1",
        client="10.200.9.9",
        pods=("10.200.1.1", "10.200.1.2", "10.200.1.3"),
        far=tuple(f"10.200.2.{number}" for number in range(1, 11)),
        peer_pod="10.200.3.9",
        peer_node="192.168.50.2",
        near="198.51.100.1",
        barred="198.51.100.130",
        routes=(("client", "10.200.9.0/24"), ("far", "10.200.2.0/24"), ("peer", "10.200.3.0/24"), ("peer", "192.168.50.2/32")),
        pod_block="10.200.0.0/16",
        node_block="192.168.50.0/24",
        near_block="198.51.100.0/25",
        service_block="10.96.0.0/16",
        vip="10.96.0.",
        external="203.0.113.",
        balancer="203.0.114.",
        bits=32,
    ),
    "IPv6": Plan(
        family="IPv6",
        node="fd00:50::1",
        second="fd00:60::1",
        loopback="::1",
        client="fd00:200:9::9",
        pods=("fd00:200:1::1", "fd00:200:1::2", "fd00:200:1::3"),
        far=tuple(f"fd00:200:2::{number:x}" for number in range(1, 11)),
        peer_pod="fd00:200:3::9",
        peer_node="fd00:50::2",
        near="2001:db8:100::1",
        barred="2001:db8:101::1",
        routes=(
            ("client", "fd00:200:9::/64"), ("far", "fd00:200:2::/64"), ("peer", "fd00:200:3::/64"), ("peer", "fd00:50::2/128"),
        ),
        pod_block="fd00:200::/32",
        node_block="fd00:50::/64",
        near_block="2001:db8:100::/64",
        service_block="fd00:96::/112",
        vip="fd00:96::",
        external="2001:db8:113::",
        balancer="2001:db8:114::",
        bits=128,
    ),
}  # fmt: skip


class Network:
    """The namespaces of the picture above. A `Traffic` sends through it."""

    def __init__(self) -> None:
        self.node = Namespace()
        self.others = {name: Namespace() for name in OTHERS}
        self.namespaces = {"node": self.node, **self.others}
        for number, (name, other) in enumerate(self.others.items(), 1):
            hardware = f"02:00:00:00:00:{number:02x}"
            end = f"name eth0 address {hardware} netns {other.path}"
            self.node.ip((f"link add {name} address {hardware} type veth peer {end}", f"link set {name} arp off up"))
        self.node.ip(("link add spare type veth peer name nowhere", "link set spare up", "link set nowhere up"))
        for family, plan in ((4, PLANS["IPv4"]), (6, PLANS["IPv6"])):
            self._address(family, plan)
        interfaces = ("all", "default", "lo", *OTHERS)
        self.node.set(
            {f"ipv4/conf/{name}/{key}": value for name in interfaces for key, value in
             (("rp_filter", 0), ("route_localnet", 1), ("send_redirects", 0))}
            | {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}
            | {"ipv4/icmp_ratelimit": 0, "ipv4/icmp_ratemask": 0, "ipv6/icmp/ratelimit": 0, "ipv6/icmp/ratemask": ""}
        )  # fmt: skip

    def _address(self, family: int, plan: Plan) -> None:
        whole = plan.bits
        nodad = " nodad" if family == 6 else ""
        lines = [f"addr add {plan.node}/{whole} dev {name}{nodad}" for name in OTHERS]
        lines.append(f"addr add {plan.second}/{whole} dev spare{nodad}")
        lines += [f"route add {address}/{whole} dev pod-{letter}" for address, letter in zip(plan.pods, "abc", strict=True)]
        lines += [f"route add {block} dev {name}" for name, block in plan.routes]
        lines.append("route add default dev outside")
        self.node.ip(lines, family)
        for other in self.others.values():
            if family == 4:
                other.set(
                    {f"ipv4/conf/{name}/{key}": value for name in ("all", "default", "eth0", "lo")
                     for key, value in (("rp_filter", 0), ("accept_local", 1))}
                )  # fmt: skip
                other.ip(("link set eth0 arp off up",))
            other.ip(
                (
                    "route add default dev eth0",
                    f"rule add iif eth0 lookup {_TABLE}",
                    f"route add local default dev lo table {_TABLE}",
                ),
                family,
            )

    def forget(self) -> None:
        """Empty the node of rules and of the connections that it tracks."""
        for tool in ("iptables", "ip6tables"):
            self.node.run(f"{tool}-legacy-restore", given=NO_RULES)
        self.node.run("nft", "flush", "ruleset")
        self.forget_connections()

    def forget_connections(self) -> None:
        """Empty the node's connection table."""
        self.node.run("conntrack", "-F")

    def close(self) -> None:
        """Let all namespaces go."""
        for each in self.namespaces.values():
            each.close()


NO_RULES = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
COMMIT
"""
