"""kube-proxy in nftables mode, for one node and one address family.

A sync rewrites the ports of changed Services only, in one transaction; the first one, and one that has to be full, writes
everything. Chains out of use are emptied at once and deleted by a later sync, once a second has passed, because kernels
before 6.2 take a moment to see that a map has let go of them.

Source: pkg/proxy/nftables/proxier.go, `syncProxyRules` (kubernetes 1.33 and 1.34).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field

from svcsim.kubeproxy.change_tracker import Changes, ChangeTracker
from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.nftables_base import base_table, nodeport_ips
from svcsim.kubeproxy.nftables_contents import Contents, ContentsPool, Programmes, changed_elements
from svcsim.kubeproxy.nftables_programme import Flavour, Programme, build
from svcsim.kubeproxy.nftables_table import NftablesTable
from svcsim.kubeproxy.service_ports import ServicePortInfo, ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.topology import categorize, depends_on_node
from svcsim.linux.address import Address

STALE_CHAIN_NS = 1_000_000_000
"""How long a chain that is no longer used stays, empty (`oneSecondAgo` in syncProxyRules)."""

_REVISIONS = 4


@dataclass(frozen=True, slots=True)
class Written:
    """What a sync writes into the kernel, for its programming time.

    `chains` are created or emptied and filled again, `rules` added, `sets` declared, `elements` added and `elements_deleted`
    deleted; `chains_emptied` went out of use, and `chains_deleted` did so long enough ago.
    """

    full: bool
    services: int = 0
    chains: int = 0
    rules: int = 0
    sets: int = 0
    sets_deleted: int = 0
    elements: int = 0
    elements_deleted: int = 0
    chains_emptied: int = 0
    chains_deleted: int = 0

    @property
    def operations(self) -> int:
        """Operations of the transaction: a chain that is written is added and emptied first. Chains are deleted in another one."""
        written = 2 * self.chains + self.rules + self.sets + self.elements
        return written + self.sets_deleted + self.elements_deleted + self.chains_emptied


@dataclass(slots=True)
class _Revision:
    """Programmes that were built from one reading of a port and its endpoints, by flavour and place."""

    port: ServicePortInfo
    endpoints: tuple[EndpointInfo, ...]
    built: dict[tuple[object, ...], Programme] = field(default_factory=dict)


class ProgrammeLibrary:
    """Builds each programme once for all nodes of one family; `built` counts."""

    def __init__(self) -> None:
        self.pool = ContentsPool()
        self.built = 0
        self._revisions: dict[ServicePortName, list[_Revision]] = {}
        self._by_value: weakref.WeakValueDictionary[tuple[object, ...], Programme] = weakref.WeakValueDictionary()

    def programme(
        self, port: ServicePortInfo, endpoints: tuple[EndpointInfo, ...], settings: ProxySettings, flavour: Flavour
    ) -> Programme:
        """The programme of a port on a node."""
        known = self._revisions.setdefault(port.name, [])
        revision = next((each for each in known if each.port is port and each.endpoints is endpoints), None)
        if revision is None:
            revision = _Revision(port, endpoints)
            known.insert(0, revision)
            del known[_REVISIONS:]
        allow_from_node = bool(port.source_ranges) and any(settings.node_ip in block for block in port.source_ranges)
        place = (settings.node_name, settings.zone) if depends_on_node(endpoints, port) else ()
        key = (flavour, allow_from_node, settings.prefer_same_node, *place)
        programme = revision.built.get(key)
        if programme is None:
            programme = self._build(port, endpoints, settings, flavour, allow_from_node)
            revision.built[key] = programme
        return programme

    def _build(
        self,
        port: ServicePortInfo,
        endpoints: tuple[EndpointInfo, ...],
        settings: ProxySettings,
        flavour: Flavour,
        allow_from_node: bool,
    ) -> Programme:
        used = categorize(endpoints, port, settings.node_name, settings.zone, same_node=settings.prefer_same_node)
        value = (port, used, flavour, allow_from_node)
        programme = self._by_value.get(value)
        if programme is None:
            programme = build(port, used, flavour, self.built, allow_from_node=allow_from_node)
            self.built += 1
            self._by_value[value] = programme
        return programme


def local_addresses(settings: ProxySettings) -> tuple[Address, ...]:
    """The addresses that the node's kernel delivers itself, in the proxier's family."""
    loopback = Address((1 << 128) | 1) if settings.is_ipv6 else Address(0x7F000001)
    return (*settings.family_local_ips, settings.node_ip, loopback)


class NftablesProxier:
    """One node's kube-proxy: `sync` brings the table in line with what the tracker has seen; `table` decides packets."""

    def __init__(
        self, settings: ProxySettings, tracker: ChangeTracker, library: ProgrammeLibrary, *, matches_port_again: bool = False
    ) -> None:
        """`matches_port_again`: write the masquerading rule of cluster IPs as versions before 1.34 did."""
        self.settings = settings
        self.tracker = tracker
        self.library = library
        pods = settings.cluster_cidr if settings.detects_local_traffic else None
        self.flavour = Flavour(settings.is_ipv6, settings.masquerade_all, pods, matches_port_again)
        self.table = NftablesTable(
            base_table(settings), library.pool.take(), local_addresses(settings), nodeport_ips(settings)
        )
        self.needs_full_sync = True

    def sync(self, now_ns: int) -> tuple[Changes, Written]:
        """Take over all that is pending; tells what it was and what it wrote."""
        changes = self.tracker.checkout()
        full = self.needs_full_sync
        keys: Iterable[str] = self.tracker.services if full else changes.keys
        contents = self.table.contents
        wanted: dict[ServicePortName, Programme | None] = {}
        for key in keys:
            ports = self.tracker.services.get(key) or {}
            endpoints = self.tracker.endpoints_of(key) if ports else {}
            for name, port in ports.items():
                wanted[name] = self.library.programme(port, endpoints.get(name, ()), self.settings, self.flavour)
        gone = contents.programmes if full else [name for key in changes.services for name in contents.ports.get(key, ())]
        for name in gone:
            if name not in wanted:
                wanted[name] = None
        written = self._write(contents, wanted, full, now_ns)
        self.table.use(self.library.pool.step(contents, wanted))
        self.needs_full_sync = False
        return changes, written

    def _write(self, contents: Contents, wanted: Programmes, full: bool, now_ns: int) -> Written:
        """Count what the transaction holds; keep track of chains out of use and of affinity sets."""
        stale = self.table.stale_chains
        due = [chain for chain, since in stale.items() if since < now_ns - STALE_CHAIN_NS]
        for chain in due:
            del stale[chain]
        chains = rules = sets = emptied = 0
        removed: list[str] = []
        for name, programme in wanted.items():
            before = contents.programmes.get(name)
            old_chains, old_sets = (before.chains, before.sets) if before else ({}, {})
            new_chains, new_sets = (programme.chains, programme.sets) if programme else ({}, {})
            chains += len(new_chains)
            rules += programme.rules if programme else 0
            sets += len(new_sets)
            for chain in new_chains:
                stale.pop(chain, None)
            for chain in old_chains:
                if chain not in new_chains:
                    stale[chain] = now_ns
                    emptied += 1
            gone = [each for each in old_sets if each not in new_sets]
            removed += gone
            self.table.keep_sets(gone, new_sets)
        added, deleted = changed_elements(contents, wanted)
        if full:
            base = self.table.base
            chains += len(base.chains)
            rules += sum(len(chain.rules) for chain in base.chains.values())
            sets += len(base.sets)
            programmes = [programme for programme in wanted.values() if programme]
            added, deleted = sum(len(programme.entries) for programme in programmes) + len(self.table.nodeport_ips), 0
        return Written(
            full=full,
            services=len(dict.fromkeys(name.service_key for name in wanted)),
            chains=chains,
            rules=rules,
            sets=sets,
            sets_deleted=len(removed),
            elements=added,
            elements_deleted=deleted,
            chains_emptied=emptied,
            chains_deleted=len(due),
        )

    def forget(self) -> None:
        """The node lost power: its table is gone, and the next sync is a full one."""
        self.library.pool.release(self.table.contents)
        self.table.use(self.library.pool.take())
        self.table.dynamic_sets.clear()
        self.table.stale_chains.clear()
        self.needs_full_sync = True
