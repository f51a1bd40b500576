"""kube-proxy in nftables mode, for one node and one address family.

A sync rewrites the ports of changed Services only, in one transaction; the first one, and one that has to be full, writes
everything. Chains out of use are emptied at once and deleted by a later sync, once a second has passed, because kernels
before 6.2 take a moment to see that a map has let go of them.

Source: pkg/proxy/nftables/proxier.go, `syncProxyRules` (kubernetes 1.33 and 1.34).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from svcsim.kubeproxy.change_tracker import Changes, ChangeTracker
from svcsim.kubeproxy.nftables_base import base_table, nodeport_ips
from svcsim.kubeproxy.nftables_contents import Contents, Programmes, changed_elements
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary, Start
from svcsim.kubeproxy.nftables_programme import Flavour, Programme
from svcsim.kubeproxy.nftables_table import NftablesTable
from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.sync_loop import Prepared
from svcsim.linux.address import Address

STALE_CHAIN_NS = 1_000_000_000
"""How long a chain that is no longer used stays, empty (`oneSecondAgo` in syncProxyRules)."""


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
        """Operations of the transaction: a chain is added and emptied before it is written. Chains are deleted in another one."""
        written = 2 * self.chains + self.rules + self.sets + self.elements
        return written + self.sets_deleted + self.elements_deleted + self.chains_emptied


def local_addresses(settings: ProxySettings) -> tuple[Address, ...]:
    """The addresses that the node's kernel delivers itself, in the proxier's family."""
    loopback = Address((1 << 128) | 1) if settings.is_ipv6 else Address(0x7F000001)
    return (*settings.family_local_ips, settings.node_ip, loopback)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Programmes to put in place, the chains that go out of use thereby and the affinity sets that are deleted.

    With `start`, an empty table takes over what nodes of its flavour have in common, and `wanted` is what differs by node.
    """

    wanted: Programmes
    chains_emptied: tuple[str, ...]
    sets_deleted: tuple[str, ...]
    start: Start | None = None

    @classmethod
    def of(cls, contents: Contents, wanted: Programmes, start: Start | None) -> _Plan:
        emptied: list[str] = []
        deleted: list[str] = []
        for name, programme in wanted.items():
            before = contents.programmes.get(name)
            if before is not None and before is not programme:
                emptied += [chain for chain in before.chains if programme is None or chain not in programme.chains]
                deleted += [each for each in before.sets if programme is None or each not in programme.sets]
        return cls(wanted, tuple(emptied), tuple(deleted), start)

    def written(self, table: NftablesTable, contents: Contents, chains_deleted: int, *, full: bool) -> Written:
        programmes = [programme for programme in self.wanted.values() if programme is not None]
        chains = sum(len(programme.chains) for programme in programmes)
        rules = sum(programme.rules for programme in programmes)
        sets = sum(len(programme.sets) for programme in programmes)
        services = len(dict.fromkeys(name.service_key for name in self.wanted))
        if full:
            chains += len(table.base.chains)
            rules += sum(len(chain.rules) for chain in table.base.chains.values())
            sets += len(table.base.sets)
            added, removed = sum(len(programme.entries) for programme in programmes) + len(table.nodeport_ips), 0
            if self.start is not None:
                chains += self.start.chains
                rules += self.start.contents.rules
                sets += self.start.sets
                added += self.start.elements
                services += len(self.start.contents.ports)
        else:
            added, removed = changed_elements(contents, self.wanted)
        return Written(
            full=full,
            services=services,
            chains=chains,
            rules=rules,
            sets=sets,
            sets_deleted=len(self.sets_deleted),
            elements=added,
            elements_deleted=removed,
            chains_emptied=len(self.chains_emptied),
            chains_deleted=chains_deleted,
        )


class NftablesProxier:
    """One node's kube-proxy; `table` decides packets.

    A sync has two instants: `prepare` takes what is pending and works out what to write, `commit` of what it returns puts it in
    force when the transaction is through. Between them packets meet the old table.
    """

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
        self.written = Written(full=False)

    def prepare(self, now_ns: int, *, full: bool = False) -> Prepared:
        """Take over all that is pending and work out what it changes; `written` then tells what the transaction holds."""
        changes = self.tracker.checkout()
        full = full or self.needs_full_sync
        self.needs_full_sync = False
        contents = self.table.contents
        start = None
        keys: Iterable[str] = changes.keys
        if full:
            start = None if contents.programmes else self.library.start(self.tracker, self.settings, self.flavour)
            keys = start.dependent if start is not None else self.tracker.services
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
        plan = _Plan.of(contents, wanted, start)
        due = [chain for chain, since in self.table.stale_chains.items() if since < now_ns - STALE_CHAIN_NS]
        self.written = plan.written(self.table, contents, len(due), full=full)

        def commit() -> None:
            self._commit(plan, due, now_ns)

        base_rules = sum(len(chain.rules) for chain in self.table.base.chains.values())
        rules = (contents if start is None else start.contents).rules_after(wanted) + base_rules
        return Prepared(changes, full, self.written.services, rules, commit)

    def sync(self, now_ns: int) -> tuple[Changes, Written]:
        """`prepare` and `commit` at once; tells what changed and what was written."""
        prepared = self.prepare(now_ns)
        prepared.commit()
        return prepared.changes, self.written

    def fail(self) -> None:
        """nft refused the transaction: what was pending is lost, so the next sync is a full one."""
        self.needs_full_sync = True

    def _commit(self, plan: _Plan, due: list[str], now_ns: int) -> None:
        stale = self.table.stale_chains
        for chain in due:
            stale.pop(chain, None)
        for programme in plan.wanted.values():
            for chain in programme.chains if programme else ():
                stale.pop(chain, None)
        stale.update(dict.fromkeys(plan.chains_emptied, now_ns))
        for programme in plan.wanted.values():
            self.table.keep_sets((), programme.sets if programme else {})
        self.table.keep_sets(plan.sets_deleted, {})
        contents, pool = self.table.contents, self.library.pool
        if plan.start is not None:
            pool.release(contents)
            contents = pool.hold(plan.start.contents)
        self.table.use(pool.step(contents, plan.wanted))

    def forget(self) -> None:
        """The node lost power: its table is gone, and the next sync is a full one."""
        self.library.pool.release(self.table.contents)
        self.table.use(self.library.pool.take())
        self.table.dynamic_sets.clear()
        self.table.stale_chains.clear()
        self.needs_full_sync = True
