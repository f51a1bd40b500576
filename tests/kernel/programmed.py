"""A node's rules as svcsim decides by them, and the same rules in the kernel of a namespace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.kubeproxy.iptables_ruleset import SERVICE_CHAINS
from svcsim.kubeproxy.iptables_table import IptablesTable
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier, local_addresses
from svcsim.kubeproxy.nftables_table import NftablesTable
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.netfilter import text as iptables_text
from svcsim.linux.netfilter import walk as iptables_walk
from svcsim.linux.nftables import listing
from svcsim.linux.nftables import walk as nftables_walk
from svcsim.linux.packet import Decision, Packet
from tests.kernel.namespaces import Namespace

BACKENDS = ("iptables-legacy", "iptables-nft", "nftables")


def tracker(node: ProxySettings, objects: Iterable[Service | EndpointSlice]) -> ChangeTracker:
    """What a kube-proxy has seen of the API."""
    seen = ChangeTracker(Catalogue(node.family), node.node_name)
    for each in objects:
        if isinstance(each, Service):
            seen.on_service(each)
        else:
            seen.on_slice(each)
    return seen


def iptables_table(node: ProxySettings, objects: Iterable[Service | EndpointSlice], order: int | None = None) -> IptablesTable:
    """The node's tables in iptables mode after its first sync."""
    proxier = IptablesProxier(node, tracker(node, objects), IptablesProgrammes(), order=order)
    proxier.sync(0)
    return proxier.table


def nftables_table(node: ProxySettings, objects: Iterable[Service | EndpointSlice]) -> NftablesTable:
    """The node's table in nftables mode after its first sync."""
    proxier = NftablesProxier(node, tracker(node, objects), ProgrammeLibrary())
    proxier.sync(0)
    return proxier.table


@dataclass
class Programmed:
    """A node's rules by one back end: what svcsim says of a packet, and how a kernel gets and tells the same rules."""

    backend: str
    settings: ProxySettings
    table: IptablesTable | NftablesTable

    @classmethod
    def of(cls, backend: str, node: ProxySettings, objects: Sequence[Service | EndpointSlice]) -> Programmed:
        """The rules for these objects."""
        table = nftables_table(node, objects) if backend == "nftables" else iptables_table(node, objects)
        return cls(backend, node, table)

    @property
    def tool(self) -> str:
        """`iptables-legacy`, `ip6tables-nft`, …"""
        return self.backend.replace("iptables", "ip6tables") if self.settings.is_ipv6 else self.backend

    def load(self, node: Namespace) -> None:
        """Put the rules into a kernel that has none."""
        if isinstance(self.table, NftablesTable):
            node.run("nft", "-f", "-", given=self.table.text())
        else:
            node.run(f"{self.tool}-restore", given=iptables_text.render(self.table.ruleset()))

    def saved(self, node: Namespace) -> str:
        """What the kernel's own tool prints of its rules."""
        if isinstance(self.table, NftablesTable):
            return node.run("nft", "list", "ruleset")
        return "".join(node.run(f"{self.tool}-save", "-t", table) for table in ("filter", "nat"))

    def read_back(self, saved: str) -> ReadBack:
        """What such a print says of a packet; the state of affinity is that of the node."""
        return ReadBack(self, saved)

    @contextmanager
    def tentatively(self) -> Iterator[None]:
        """What is decided meanwhile leaves no trace in the state of affinity."""
        if isinstance(self.table, NftablesTable):
            kept = {name: dict(entries.expiry_ns) for name, entries in self.table.dynamic_sets.items()}
            yield
            for name, entries in self.table.dynamic_sets.items():
                entries.expiry_ns = kept.get(name, {})
        else:
            lists = deepcopy(self.table.recent.lists) if self.table.recent.lists else {}
            yield
            self.table.recent.lists = lists


class ReadBack:
    """The rules that a kernel's tool printed, walked by svcsim."""

    def __init__(self, programmed: Programmed, saved: str) -> None:
        self.programmed = programmed
        table = programmed.table
        if isinstance(table, NftablesTable):
            self._view = nftables_walk.RulesetView(listing.parse(saved), table.dynamic_sets)
        else:
            self._ruleset = iptables_text.parse(saved)

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """The outcome by these rules."""
        table = self.programmed.table
        if isinstance(table, NftablesTable):
            local = local_addresses(self.programmed.settings)
            return nftables_walk.walk(self._view, local, packet, uniform, now_ns, "services")[0]
        kernel = iptables_walk.KernelState(table.is_local, table.recent, SERVICE_CHAINS)
        return iptables_walk.walk(self._ruleset, kernel, packet, uniform, now_ns)[0]
