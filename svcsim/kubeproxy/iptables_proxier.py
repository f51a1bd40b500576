"""kube-proxy in iptables mode on one node: from changed Services and endpoints to the rules in its kernel.

A sync has two instants. `prepare` takes what is pending and works out the changed programmes; `commit` puts them in force at the
end of the programming time, or `fail` notes that iptables-restore refused them. In between, packets meet the old rules. The work
is O(changed Services); programmes are shared by the nodes of a flavour, through their `IptablesProgrammes`.

Source: pkg/proxy/iptables/proxier.go (syncProxyRules), kubernetes 1.30 to 1.34.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from svcsim.engine.streams import splitmix64
from svcsim.kubeproxy import iptables_base as base_rules
from svcsim.kubeproxy.change_tracker import Changes, ChangeTracker, Ports
from svcsim.kubeproxy.iptables_list import LIST_KINDS, ListKind
from svcsim.kubeproxy.iptables_programme import Programme, Swap
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes, SharedBase
from svcsim.kubeproxy.iptables_ruleset import RestoreInput, restore_input
from svcsim.kubeproxy.iptables_table import IptablesTable
from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.shared_map import SharedMap

FULL_SYNC_PERIOD_NS = 3_600_000_000_000
"""After this long a sync is a full one in any case (proxyutil.FullSyncPeriod)."""


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What a sync is about to write. Counts are rules handed to iptables-restore in this sync, by table.

    `nat_total` and `filter_total` count all rules that kube-proxy keeps in the table after it
    (metric sync_proxy_rules_iptables_total). `no_local_internal` and `no_local_external` are metric
    sync_proxy_rules_no_local_endpoints_total.
    """

    full: bool
    changes: Changes
    swaps: dict[ServicePortName, Swap]
    nat_written: int
    filter_written: int
    nat_total: int
    filter_total: int
    no_local_internal: int
    no_local_external: int
    large_cluster: bool
    deletes_chains: bool
    stale: tuple[Programme, ...]
    """Programmes whose chains the sync looks for and deletes, unless they are in use."""
    now_ns: int


class _Totals(NamedTuple):
    """Sums over a node's programmes."""

    nat_chain_rules: int = 0
    endpoints: int = 0
    no_local_internal: int = 0
    no_local_external: int = 0

    def changed(self, swap: Swap) -> _Totals:
        after, before = _sums(swap.new), _sums(swap.old)
        return _Totals(*(total + new - old for total, new, old in zip(self, after, before, strict=True)))


def _sums(programme: Programme | None) -> _Totals:
    if programme is None:
        return _Totals()
    any_endpoints = programme.endpoints.has_any
    return _Totals(
        programme.nat_chain_rules,
        programme.total_endpoints,
        int(any_endpoints and not programme.has_internal),
        int(any_endpoints and not programme.has_external),
    )


class IptablesProxier:
    """The proxier of one node and family. `table` is what it programs: the node's `FirstPacketPath`.

    A proxy that restarts on a node that kept its rules takes over the `table`; its first sync writes all anew. `order` keys the
    order of shared chains, another one after each sync; None keeps them sorted by Service port.
    """

    def __init__(
        self,
        settings: ProxySettings,
        tracker: ChangeTracker,
        programmes: IptablesProgrammes,
        *,
        order: int | None = None,
        table: IptablesTable | None = None,
        partial: bool = True,
        seldom_cleans: bool = True,
    ) -> None:
        """`partial`: a sync writes the chains of what changed (MinimizeIPTablesRestore), else all of them; `seldom_cleans`: a
        large cluster's chains out of use are deleted once a sync period, else in each sync.
        """
        self.settings = settings
        self._partial = partial
        self._seldom_cleans = seldom_cleans
        self.tracker = tracker
        self.shared = programmes.of(settings)
        self.order = order
        self.table = table if table is not None else IptablesTable(settings)
        self.syncs = 0
        self.programmes: SharedMap[ServicePortName, Programme] = SharedMap()
        self._base: SharedBase | None = None
        self._ports: SharedMap[str, Ports] = SharedMap()
        self._totals = _Totals()
        self._needs_full = True
        self._unwritten: dict[ServicePortName, Swap] = {}
        self._stale: list[Programme] = []
        self._last_cleanup_ns = 0
        self._last_full_sync_ns = 0

    def prepare(self, now_ns: int = 0, *, full: bool = False) -> SyncPlan:
        """Take what is pending. A sync is full if asked for, at first and after a failure: it writes every chain.

        From here on kube-proxy's own view is the new one; the kernel's follows with `commit`.
        """
        changes = self.tracker.checkout()
        full = full or not self._partial or self._needs_full or now_ns - self._last_full_sync_ns > FULL_SYNC_PERIOD_NS
        keys = changes.keys
        if self._base is None:
            keys = tuple(dict.fromkeys((*self._start(), *keys)))
        swaps: dict[ServicePortName, Swap] = {}
        for key in keys:
            self._plan(key, swaps)
        for name, swap in swaps.items():
            self._totals = self._totals.changed(swap)
            earlier = self._unwritten.get(name)
            self._unwritten[name] = Swap(earlier.old, swap.new) if earlier is not None else swap
        return self._counted(changes, now_ns, full=full)

    def _start(self) -> tuple[str, ...]:
        """Begin with what nodes share; the keys of Services that need this node's own look."""
        base = self._base = self.shared.base(self.tracker, self.settings)
        self.programmes = SharedMap(base.programmes)
        self._ports = SharedMap(base.ports)
        self._totals = _Totals(base.nat_chain_rules, base.total_endpoints, 0, 0)
        return base.node_dependent

    def _plan(self, key: str, swaps: dict[ServicePortName, Swap]) -> None:
        """Work out the new programmes of one Service."""
        before, after = self._ports.get(key) or {}, self.tracker.services.get(key) or {}
        endpoints = self.tracker.endpoints_of(key) if after else {}
        for name, info in after.items():
            programme = self.shared.programme(info, endpoints.get(name, ()), self.settings)
            swaps[name] = Swap(self.programmes.get(name), programme)
            self.programmes[name] = programme
        for name in before:
            if name not in after:
                swaps[name] = Swap(self.programmes.get(name), None)
                del self.programmes[name]
        if after:
            self._ports[key] = after
        else:
            del self._ports[key]

    def _counted(self, changes: Changes, now_ns: int, *, full: bool) -> SyncPlan:
        swaps = dict(self._unwritten)
        lengths = dict.fromkeys(LIST_KINDS, 0)
        chain_rules = 0
        for swap in swaps.values():
            chain_rules += swap.new.nat_chain_rules if swap.new is not None else 0
            for kind in LIST_KINDS:
                lengths[kind] += _listed(swap.new, kind) - _listed(swap.old, kind)
        for kind in LIST_KINDS:
            lengths[kind] += self._written_length(kind)
        settings = self.settings
        nat = (
            lengths["services"] + lengths["node_ports"] + len(self.table.node_port_jumps)
            + len(base_rules.postrouting(settings)) + len(base_rules.mark_masq(settings))
        )
        filters = (
            sum(lengths[kind] for kind in LIST_KINDS[2:])
            + len(base_rules.forward(settings)) + len(base_rules.kubelet_firewall(settings))
        )
        totals = self._totals
        large = totals.endpoints > settings.large_cluster_endpoints
        self._stale += [swap.old for swap in swaps.values() if swap.old is not None and swap.old is not swap.new]
        due = not (large and self._seldom_cleans) or now_ns - self._last_cleanup_ns > settings.sync_period_ns
        return SyncPlan(
            full=full,
            changes=changes,
            swaps=swaps,
            nat_written=nat + (totals.nat_chain_rules if full else chain_rules),
            filter_written=filters,
            nat_total=nat + totals.nat_chain_rules,
            filter_total=filters,
            no_local_internal=totals.no_local_internal,
            no_local_external=totals.no_local_external,
            large_cluster=large,
            deletes_chains=due,
            stale=tuple(self._stale) if due else (),
            now_ns=now_ns,
        )

    def _written_length(self, kind: ListKind) -> int:
        """How many rules of a shared chain stay if nothing is swapped: what the kernel has, or at first what the base has."""
        if self.syncs == 0:
            return len(self._base.lists[kind].items) if self._base is not None else 0
        return len(self.table.lists[kind])

    def commit(self, plan: SyncPlan) -> None:
        """The rules of a plan are in the kernel."""
        if self.syncs == 0 and self._base is not None:
            self.table.adopt(self._base)
        self.syncs += 1
        order = None if self.order is None else splitmix64(self.order ^ splitmix64(self.syncs))
        self.table.apply(plan.swaps, order)
        if plan.full:
            self._last_full_sync_ns = plan.now_ns
        if plan.deletes_chains:
            self._stale.clear()
            self._last_cleanup_ns = plan.now_ns
        self._unwritten.clear()
        self._needs_full = False

    def fail(self, plan: SyncPlan) -> None:
        """iptables-restore refused a plan: the kernel keeps what it had, and the next sync is full."""
        self._needs_full = True

    def sync(self, now_ns: int = 0, *, full: bool = False) -> SyncPlan:
        """`prepare` and `commit` at once."""
        plan = self.prepare(now_ns, full=full)
        self.commit(plan)
        return plan

    def restore_input(self, plan: SyncPlan) -> RestoreInput:
        """What a plan, once committed, has handed to iptables-restore."""
        table = self.table
        if plan.full:
            written = list(table.programmes.values())
        else:
            written = [swap.new for swap in plan.swaps.values() if swap.new is not None]
        current = [table.programmes.get(programme.info.name) for programme in plan.stale]
        in_use = {chain for programme in current if programme is not None for chain in programme.chain_names}
        return restore_input(
            self.settings, table.lists, written, stale=plan.stale, in_use=in_use, large_cluster=plan.large_cluster
        )


def _listed(programme: Programme | None, kind: ListKind) -> int:
    return len(programme.listed[kind]) if programme is not None else 0
