"""The rules that kube-proxy writes in iptables mode whatever the Services: jumps from the built-in chains, marks, forwarding.

Source: pkg/proxy/iptables/proxier.go (iptablesJumpChains, syncProxyRules), kubernetes 1.30 to 1.34. The jumps are prepended one
by one, so they stand here in the reverse of the order in which the source lists them.
"""

from __future__ import annotations

from svcsim.kubeproxy import iptables_chains as chains
from svcsim.kubeproxy.settings import LOOPBACK, ProxySettings
from svcsim.linux.address import Prefix
from svcsim.linux.netfilter.rules import (
    Accept,
    AddressType,
    Comment,
    ConntrackState,
    Destination,
    Drop,
    Jump,
    Mark,
    Masquerade,
    Match,
    NfAcct,
    Return,
    Rule,
    SetMark,
    Source,
)

INVALID_COUNTER = "ct_state_invalid_dropped_pkts"
LAST_RULE = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"

_NEW = ConntrackState(("NEW",))


def _jump(chain: str, comment: str, *more: Match) -> Rule:
    return Rule((*more, *((Comment(comment),) if comment else ())), Jump(chain))


_FIREWALL = _jump(chains.PROXY_FIREWALL, "kubernetes load balancer firewall", _NEW)
_EXTERNAL = _jump(chains.EXTERNAL_SERVICES, "kubernetes externally-visible service portals", _NEW)
_FILTER_SERVICES = _jump(chains.SERVICES, "kubernetes service portals", _NEW)
_KUBELET = _jump(chains.KUBELET_FIREWALL, "")
_SERVICES = _jump(chains.SERVICES, "kubernetes service portals")

FILTER_JUMPS: dict[str, tuple[Rule, ...]] = {
    "INPUT": (_KUBELET, _FIREWALL, _jump(chains.NODE_PORTS, "kubernetes health check service ports"), _EXTERNAL),
    "FORWARD": (_FIREWALL, _jump(chains.FORWARD, "kubernetes forwarding rules"), _FILTER_SERVICES, _EXTERNAL),
    "OUTPUT": (_KUBELET, _FIREWALL, _FILTER_SERVICES),
}
NAT_JUMPS: dict[str, tuple[Rule, ...]] = {
    "PREROUTING": (_SERVICES,),
    "OUTPUT": (_SERVICES,),
    "POSTROUTING": (_jump(chains.POSTROUTING, "kubernetes postrouting rules"),),
}


def kubelet_firewall(settings: ProxySettings) -> tuple[Rule, ...]:
    """KUBE-FIREWALL: what keeps route_localnet from opening loopback addresses to the network (CVE-2020-8558)."""
    if settings.is_ipv6 or not settings.localhost_nodeports:
        return ()
    loopback = LOOPBACK["IPv4"]
    return (
        Rule(
            (
                Comment("block incoming localnet connections"),
                Destination(loopback),
                Source(loopback, negated=True),
                ConntrackState(("RELATED", "ESTABLISHED", "DNAT"), negated=True),
            ),
            Drop(),
        ),
    )


def forward(settings: ProxySettings) -> tuple[Rule, ...]:
    """KUBE-FORWARD: drop what conntrack can't place, forward what is to be masqueraded, and answers."""
    mark = settings.masquerade_mark
    counter = (NfAcct(INVALID_COUNTER),) if settings.nfacct else ()
    invalid = () if settings.conntrack_tcp_liberal else (Rule((ConntrackState(("INVALID",)), *counter), Drop()),)
    return (
        *invalid,
        Rule((Comment("kubernetes forwarding rules"), Mark(mark, mark)), Accept()),
        Rule(
            (Comment("kubernetes forwarding conntrack rule"), ConntrackState(("RELATED", "ESTABLISHED"))), Accept()
        ),
    )


def postrouting(settings: ProxySettings) -> tuple[Rule, ...]:
    """KUBE-POSTROUTING: masquerade what carries the mark, and take the mark off."""
    mark = settings.masquerade_mark
    return (
        Rule((Mark(mark, mark, negated=True),), Return()),
        Rule((), SetMark("xor", mark)),
        Rule((Comment("kubernetes service traffic requiring SNAT"),), Masquerade(settings.random_fully)),
    )


def mark_masq(settings: ProxySettings) -> tuple[Rule, ...]:
    """KUBE-MARK-MASQ: mark the packet for masquerade."""
    return (Rule((), SetMark("or", settings.masquerade_mark)),)


def node_port_jumps(settings: ProxySettings) -> tuple[Rule, ...]:
    """The last rules of nat KUBE-SERVICES, which lead to KUBE-NODEPORTS: one for all local addresses, or one an address."""
    if settings.serves_every_nodeport_address:
        destination: tuple[Match, ...] = (AddressType("dst"),)
        if settings.is_ipv6 or not settings.localhost_nodeports:
            destination = (*destination, Destination(settings.loopback, negated=True))
        return (Rule((Comment(LAST_RULE), *destination), Jump(chains.NODE_PORTS)),)
    usable = [
        address
        for address in settings.nodeport_ips()
        if address not in settings.loopback or (settings.localhost_nodeports and not settings.is_ipv6)
    ]
    bits = 128 if settings.is_ipv6 else 32
    return tuple(
        Rule((Comment(LAST_RULE), Destination(Prefix(address, bits))), Jump(chains.NODE_PORTS)) for address in usable
    )
