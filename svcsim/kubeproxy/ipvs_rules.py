"""The iptables rules of kube-proxy's IPVS mode: few, and fixed but for the sets that are not empty.

Source: pkg/proxy/ipvs/proxier.go, `writeIptablesRules`, `acceptIPVSTraffic`, `createAndLinkKubeChain` (kubernetes 1.30 to
1.34).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from svcsim.kubeproxy import ipvs_sets as sets
from svcsim.kubeproxy.ipvs_sets import Ipset, set_name
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import Prefix, is_ipv6
from svcsim.linux.netfilter.rules import (
    Accept,
    AddressType,
    Comment,
    ConntrackState,
    Drop,
    InInterface,
    IpvsVirtual,
    Jump,
    Mark,
    Masquerade,
    Match,
    PhysdevIsIn,
    Protocol,
    Reject,
    Return,
    Rule,
    SetMark,
    SetMatch,
    Source,
    Table,
    Target,
)
from svcsim.linux.packet import SCTP, TCP, UDP

SERVICES = "KUBE-SERVICES"
NODE_PORT = "KUBE-NODE-PORT"
LOAD_BALANCER = "KUBE-LOAD-BALANCER"
MARK_MASQ = "KUBE-MARK-MASQ"
POSTROUTING = "KUBE-POSTROUTING"
FORWARD = "KUBE-FORWARD"
FIREWALL = "KUBE-PROXY-FIREWALL"
SOURCE_RANGES = "KUBE-SOURCE-RANGES-FIREWALL"
IPVS_FILTER = "KUBE-IPVS-FILTER"
IPVS_OUT_FILTER = "KUBE-IPVS-OUT-FILTER"

_MASQUERADE_JUMP = Jump(MARK_MASQ)

_SET_RULES: tuple[tuple[str, str, int | None, Ipset, str, Target], ...] = (
    ("nat", POSTROUTING, None, sets.LOOP_BACK, "dst,dst,src", Masquerade()),
    ("nat", SERVICES, None, sets.LOAD_BALANCER, "dst,dst", Jump(LOAD_BALANCER)),
    ("nat", LOAD_BALANCER, None, sets.LOAD_BALANCER_LOCAL, "dst,dst", Return()),
    ("nat", NODE_PORT, TCP, sets.NODE_PORT_LOCAL_TCP, "dst", Return()),
    ("nat", NODE_PORT, TCP, sets.NODE_PORT_TCP, "dst", _MASQUERADE_JUMP),
    ("nat", NODE_PORT, UDP, sets.NODE_PORT_LOCAL_UDP, "dst", Return()),
    ("nat", NODE_PORT, UDP, sets.NODE_PORT_UDP, "dst", _MASQUERADE_JUMP),
    ("nat", NODE_PORT, SCTP, sets.NODE_PORT_LOCAL_SCTP, "dst,dst", Return()),
    ("nat", NODE_PORT, SCTP, sets.NODE_PORT_SCTP, "dst,dst", _MASQUERADE_JUMP),
    ("filter", FIREWALL, None, sets.LOAD_BALANCER_FW, "dst,dst", Jump(SOURCE_RANGES)),
    ("filter", SOURCE_RANGES, None, sets.LOAD_BALANCER_SOURCE_CIDR, "dst,dst,src", Return()),
    ("filter", SOURCE_RANGES, None, sets.LOAD_BALANCER_SOURCE_IP, "dst,dst,src", Return()),
)
"""Table, chain, protocol, set, fields and target of the rules that stand while their set is not empty (local before all)."""


class _Writer:
    def __init__(self, settings: ProxySettings, filled: Collection[Ipset]) -> None:
        self.settings = settings
        self.filled = filled
        self.nat: dict[str, list[Rule]] = {
            name: [] for name in (SERVICES, POSTROUTING, NODE_PORT, LOAD_BALANCER, MARK_MASQ)
        }
        self.filter: dict[str, list[Rule]] = {
            name: [] for name in (FORWARD, NODE_PORT, FIREWALL, SOURCE_RANGES, IPVS_FILTER, IPVS_OUT_FILTER)
        }

    def matches(self, ipset: Ipset, fields: str) -> SetMatch:
        return SetMatch(set_name(ipset, ipv6=self.settings.is_ipv6), fields)

    def set_rules(self) -> None:
        for table, chain, protocol, ipset, fields, target in _SET_RULES:
            if ipset in self.filled:
                before: tuple[Match, ...] = () if protocol is None else (Protocol(protocol),)
                rule = Rule((*before, Comment(ipset.comment), self.matches(ipset, fields)), target)
                (self.nat if table == "nat" else self.filter)[chain].append(rule)

    def services(self) -> None:
        """KUBE-SERVICES: who is masqueraded, and that the rest of the table does not matter to virtual servers."""
        chain = self.nat[SERVICES]
        chain.append(Rule((Source(self.settings.loopback),), Return()))
        self.set_rules()
        if sets.CLUSTER_IP in self.filled:
            comment = Comment(sets.CLUSTER_IP.comment)
            if self.settings.masquerade_all:
                matches: tuple[Match, ...] = (comment, self.matches(sets.CLUSTER_IP, "dst,dst"))
            elif self.settings.detects_local_traffic:
                matches = (comment, self.matches(sets.CLUSTER_IP, "dst,dst"), _not_local(self.settings))
            else:
                matches = (comment, self.matches(sets.CLUSTER_IP, "src,dst"))
            chain.append(Rule(matches, _MASQUERADE_JUMP))
        for ipset in (sets.EXTERNAL_IP, sets.EXTERNAL_IP_LOCAL):
            if ipset in self.filled:
                match = (Comment(ipset.comment), self.matches(ipset, "dst,dst"))
                if ipset is sets.EXTERNAL_IP:
                    chain.append(Rule(match, _MASQUERADE_JUMP))
                chain.append(Rule((*match, PhysdevIsIn(negated=True), AddressType("src", negated=True)), Accept()))
                chain.append(Rule((*match, AddressType("dst")), Accept()))
        chain.append(Rule((AddressType("dst"),), Jump(NODE_PORT)))
        for ipset in (sets.CLUSTER_IP, sets.LOAD_BALANCER):
            if ipset in self.filled:
                chain.append(Rule((self.matches(ipset, "dst,dst"),), Accept()))
        self.nat[LOAD_BALANCER].append(Rule((), _MASQUERADE_JUMP))

    def masquerading(self) -> None:
        mark = self.settings.masquerade_mark
        self.nat[POSTROUTING] += [
            Rule((Mark(mark, mark, negated=True),), Return()),
            Rule((), SetMark("xor", mark)),
            Rule((Comment("kubernetes service traffic requiring SNAT"),), Masquerade(self.settings.random_fully)),
        ]
        self.nat[MARK_MASQ].append(Rule((), SetMark("or", mark)))

    def filters(self, no_node_access: Iterable[tuple[int, int, int]]) -> None:
        """What is dropped, what is let through, and that other ports of a virtual address are refused."""
        mark = self.settings.masquerade_mark
        self.filter[SOURCE_RANGES].append(Rule((), Drop()))
        for address, protocol, port in no_node_access:
            whole = Prefix(address, 128 if is_ipv6(address) else 32)  # type: ignore[arg-type]
            virtual = IpvsVirtual(whole.base, protocol, port)
            self.filter[IPVS_OUT_FILTER].append(Rule((Source(whole), virtual), Drop()))
        self.filter[FORWARD] += [
            Rule((Comment("kubernetes forwarding rules"), Mark(mark, mark)), Accept()),
            Rule(
                (Comment("kubernetes forwarding conntrack rule"), ConntrackState(("RELATED", "ESTABLISHED"))), Accept()
            ),
        ]
        health = sets.HEALTH_CHECK_NODE_PORT
        self.filter[NODE_PORT].append(Rule((Comment(health.comment), self.matches(health, "dst")), Accept()))
        self.filter[IPVS_FILTER] += [
            Rule((self.matches(ipset, "dst,dst"),), Return())
            for ipset in (sets.LOAD_BALANCER, sets.CLUSTER_IP, sets.EXTERNAL_IP, sets.EXTERNAL_IP_LOCAL)
        ]
        self.filter[IPVS_FILTER] += [
            Rule((self.matches(health, "dst"),), Return()),
            Rule((ConntrackState(("NEW",)), self.matches(sets.IPVS_IPS, "dst")), Reject()),
        ]


def _not_local(settings: ProxySettings) -> Match:
    if settings.local_detector == "ByCIDR" and settings.cluster_cidr is not None:
        return Source(settings.cluster_cidr, negated=True)
    suffix = "+" if settings.local_detector == "ByInterfaceNamePrefix" else ""
    return InInterface(settings.interface + suffix, negated=True)


def _jump(comment: str, chain: str) -> Rule:
    return Rule((Comment(comment),), Jump(chain))


def ruleset(
    settings: ProxySettings, filled: Collection[Ipset], no_node_access: Iterable[tuple[int, int, int]] = ()
) -> dict[str, Table]:
    """The tables nat and filter while `filled` are the sets that are not empty.

    `no_node_access` are balancer addresses (with protocol and port) that the node itself may not use.
    """
    writer = _Writer(settings, filled)
    writer.services()
    writer.filters(no_node_access)
    writer.masquerading()
    portals = _jump("kubernetes service portals", SERVICES)
    firewall = _jump("kube-proxy firewall rules", FIREWALL)
    nat = {
        "PREROUTING": [portals],
        "OUTPUT": [portals],
        "POSTROUTING": [_jump("kubernetes postrouting rules", POSTROUTING)],
        **writer.nat,
    }
    access = "kubernetes ipvs access filter"
    filters = {
        "INPUT": [_jump(access, IPVS_FILTER), firewall, _jump("kubernetes health check rules", NODE_PORT)],
        "FORWARD": [firewall, _jump("kubernetes forwarding rules", FORWARD)],
        "OUTPUT": [_jump(access, IPVS_OUT_FILTER)],
        **writer.filter,
    }
    return {
        "nat": Table(
            {name: tuple(rules) for name, rules in nat.items()},
            {"PREROUTING": "ACCEPT", "OUTPUT": "ACCEPT", "POSTROUTING": "ACCEPT"},
        ),
        "filter": Table(
            {name: tuple(rules) for name, rules in filters.items()},
            {"INPUT": "ACCEPT", "FORWARD": "ACCEPT", "OUTPUT": "ACCEPT"},
        ),
    }
