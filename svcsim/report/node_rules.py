"""What kube-proxy has programmed on a simulated node, as the node's own tools would print it.

iptables and userspace mode: `iptables-save`. IPVS mode: that, `ipset save` and `ipvsadm -Sn`. nftables mode: `nft list ruleset`.
A dual-stack node has `ip6tables-save` too; the other tools print both families.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from svcsim.errors import UsageError
from svcsim.kubeproxy import iptables_chains as chains
from svcsim.kubeproxy.dual_stack import DualStackPath
from svcsim.kubeproxy.iptables_table import IptablesTable
from svcsim.kubeproxy.ipvs_node import IpvsNode
from svcsim.kubeproxy.ipvs_proxier import IpvsProxier
from svcsim.kubeproxy.ipvs_sets import IPSETS, IpsetEntry, set_name
from svcsim.kubeproxy.ipvs_sets import Ipset as KubeSet
from svcsim.kubeproxy.nftables_table import NftablesTable
from svcsim.kubeproxy.userspace_proxier import UserspacePath
from svcsim.linux import ipset
from svcsim.linux.address import Address, Prefix, is_ipv6
from svcsim.linux.ipvs.text import format_save
from svcsim.linux.netfilter import save as iptables_save
from svcsim.linux.netfilter.rules import Jump, Rule, Ruleset, Table
from svcsim.linux.nftables import listing
from svcsim.spelling import nearest
from svcsim.units import format_ns
from svcsim.world.world import World

TOOLS: Mapping[str, tuple[str, str]] = {
    "ipset": ("ipset save", "ipset restore"),
    "iptables": ("iptables-save", "iptables-restore"),
    "ip6tables": ("ip6tables-save", "ip6tables-restore"),
    "ipvsadm": ("ipvsadm -Sn", "ipvsadm -R"),
    "nft": ("nft list ruleset", "nft -f"),
}
"""Each part by name: the tool that prints it, and the one that takes it; in the order in which they are to be loaded."""

_SHARED_LISTS = (chains.SERVICES, chains.NODE_PORTS, chains.EXTERNAL_SERVICES, chains.PROXY_FIREWALL)
_CONTEXT = 2


@dataclass(frozen=True, slots=True)
class NodeRules:
    """The parts of a node's state by name, each as its tool prints it; `title` says whose it is, and of when."""

    title: str
    parts: Mapping[str, str]

    def text(self, part: str = "") -> str:
        """One part, or all; between several stand comments that say which tool takes what follows."""
        if part:
            if part not in self.parts:
                raise UsageError(f"--part: {self.title} has no {part}, but {' and '.join(self.parts)}")
            return self.parts[part]
        if len(self.parts) == 1:
            return next(iter(self.parts.values()))
        heads = {name: f"# {TOOLS[name][0]}; load it with {TOOLS[name][1]}\n" for name in self.parts}
        return "\n".join(heads[name] + text for name, text in self.parts.items())


def rules_of(world: World, node: str, *, in_order: bool = False) -> NodeRules:
    """The state that packets meet on a node now. `in_order` sorts the lists that kube-proxy writes in another order each time.

    UsageError for a node that there is not, or that is without power. The world is of no further use for a run: IPVS's virtual
    servers, which are made when they are first needed, are all made.
    """
    hosts = {host.name: host for host in world.network.fabric.hosts if host.is_node}
    host = hosts.get(node)
    now_ns = world.clock.now
    if host is None:
        raise UsageError(f"--node: there is no node {node!r}{nearest(node, hosts, listed=20)}")
    if not host.up:
        raise UsageError(f"--node: {node} has no power at {format_ns(now_ns)}: its kernel has no rules")
    title = f"{node} at {format_ns(now_ns) if now_ns else '0 s'}, {world.label}"
    paths = (host.path.ipv4, host.path.ipv6) if isinstance(host.path, DualStackPath) else (host.path,)
    parts: dict[str, str] = {}
    for path in paths:
        for name, text in _parts(world, path, title, in_order).items():
            # Both families are written to one table of IPVS.
            parts[name] = text if name == "ipvsadm" else parts.get(name, "") + text
    if not parts:
        raise UsageError(f"--node: {node} has no kube-proxy")
    return NodeRules(title, {name: parts[name] for name in TOOLS if name in parts})


def _parts(world: World, path: object, title: str, in_order: bool) -> dict[str, str]:
    """What one family of a node's kube-proxy has programmed; nothing for a family that it does not serve."""
    if isinstance(path, IptablesTable):
        return _iptables(world, path.ruleset(), title, in_order, ipv6=path.settings.is_ipv6)
    if isinstance(path, UserspacePath):
        return _iptables(world, path.ruleset(), title, in_order, ipv6=False)
    if isinstance(path, IpvsNode):
        proxier = path.proxier
        proxier.make_all(world.clock.now)
        rules = _iptables(world, proxier.rules(), title, in_order, ipv6=proxier.settings.is_ipv6)
        return {"ipset": ipset.save(sets_of(proxier)), **rules, "ipvsadm": format_save(proxier.table)}
    if isinstance(path, NftablesTable):
        return {"nft": listing.render(path.ruleset())}
    return {}


def _iptables(world: World, ruleset: Ruleset, title: str, in_order: bool, *, ipv6: bool) -> dict[str, str]:
    tool = "ip6tables" if ipv6 else "iptables"
    if in_order:
        return {tool: iptables_save.save({name: _in_order(table) for name, table in ruleset.items()}, ipv6=ipv6)}
    backend: iptables_save.Backend = "nft" if world.scenario.kubernetes.proxy.backend == "nft" else "legacy"
    header = f"Generated by {tool}-save of svcsim: {title}"
    return {tool: iptables_save.save(ruleset, backend=backend, ipv6=ipv6, header=header)}


def _in_order(table: Table) -> Table:
    sorted_chains = {
        name: tuple(sorted(rules, key=_place)) if name in _SHARED_LISTS else rules for name, rules in table.chains.items()
    }
    return Table(sorted_chains, table.policies)


def _place(rule: Rule) -> tuple[bool, str]:
    """The jump to node ports stays last."""
    return rule.target == Jump(chains.NODE_PORTS), iptables_save.save_rule(rule)


def sets_of(proxier: IpvsProxier) -> list[ipset.IpSet]:
    """kube-proxy's sets in IPVS mode with what they hold now."""
    ipv6 = proxier.settings.is_ipv6
    entries = proxier.ipsets()
    return [_set_of(each, entries[set_name(each, ipv6=ipv6)], ipv6=ipv6) for each in IPSETS]


def _set_of(kube_set: KubeSet, entries: list[IpsetEntry], *, ipv6: bool) -> ipset.IpSet:
    options = ipset.HASH_OPTIONS.format(family="inet6" if ipv6 else "inet")
    if kube_set.type.startswith("bitmap"):
        options = ipset.BITMAP_OPTIONS
    elements = []
    for entry in sorted(entries, key=lambda one: (one.port or 0) if one.address is None else 0):
        fields = _fields(entry)
        elements.append(ipset.SetElement(ipset.element_text(*fields), fields))
    return ipset.IpSet(set_name(kube_set, ipv6=ipv6), kube_set.type, options, elements)


def _fields(entry: IpsetEntry) -> tuple[ipset.Field, ...]:
    if entry.address is None:
        return (entry.port or 0,)
    fields: list[ipset.Field] = [_whole(entry.address)]
    if entry.port is not None:
        fields.append((entry.protocol, entry.port))
    if entry.address2 is not None:
        fields.append(_whole(entry.address2))
    if entry.net is not None:
        fields.append(entry.net)
    return tuple(fields)


def _whole(address: int) -> Prefix:
    return Prefix(Address(address), 128 if is_ipv6(address) else 32)


def differences(before: NodeRules, after: NodeRules) -> str:
    """A unified diff of two states, part by part; empty if there is none."""
    lines: list[str] = []
    for name in dict.fromkeys((*before.parts, *after.parts)):
        one, other = before.parts.get(name, "").splitlines(), after.parts.get(name, "").splitlines()
        tool = TOOLS[name][0]
        lines += difflib.unified_diff(
            one, other, f"{tool}: {before.title}", f"{tool}: {after.title}", lineterm="", n=_CONTEXT
        )
    return "".join(f"{line}\n" for line in lines)
