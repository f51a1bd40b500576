"""One node's kube-proxy as a process: it watches Services and slices, and writes what changed into the node's kernel.

A change that its watch delivers asks for a sync; requests are coalesced and paced (`svcsim.kubeproxy.pace`). A sync takes what is
pending when it begins, and packets see it when it ends: after kube-proxy's own work and the time that the kernel's tables take to
be written. What arrives in between waits for the next one. When kube-proxy stops, the rules stay as they are.

Sources: cmd/kube-proxy/app/server.go, pkg/proxy/{iptables,ipvs,nftables}/proxier.go (`syncProxyRules`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from svcsim.engine.clock import COMMIT, Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kube.client import Client
from svcsim.kube.store import Change, Event
from svcsim.kubeproxy.change_tracker import Changes, ChangeTracker
from svcsim.kubeproxy.pace import Pace


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sync that has been worked out and not yet been written.

    `services` counts those rewritten, `rules` the rules or objects that the node will have in all; `saved`: the kernel's table is
    listed at the end, to find chains that are out of use. `commit` makes packets see it.
    """

    changes: Changes
    full: bool
    services: int
    rules: int
    commit: Callable[[], None]
    saved: bool = False


class Proxier(Protocol):
    """A mode's translator on one node."""

    tracker: ChangeTracker

    def prepare(self, now_ns: int, *, full: bool) -> Prepared:
        """Take over all that is pending and work out what the kernel has to hold; `full` rewrites everything."""

    def forget(self) -> None:
        """The node lost power: the kernel holds nothing any more."""


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """The loop's periods: a sync at least each `period_ns`, a full one at least each `full_period_ns`, a start's duration."""

    period_ns: int
    full_period_ns: int
    start_ns: int


SyncCost = Callable[[Prepared, int], int]
"""(what is to be written, Services in all) -> nanoseconds that it takes."""


class KubeProxy:
    """kube-proxy on one node."""

    __slots__ = (
        "_armed_ns", "_busy", "_client", "_clock", "_cost", "_epoch", "_full_ns", "_journal", "_node", "_on_commit", "_pace",
        "_settings", "_wants_full", "cpu_ns", "proxier", "requested", "running", "syncs",
    )

    def __init__(
        self, node: str, proxier: Proxier, client: Client, clock: Clock, journal: Journal, pace: Pace, settings: SyncSettings,
        cost: SyncCost, on_commit: Callable[[Changes], None],
    ) -> None:
        self._node = node
        self.proxier = proxier
        self._client = client
        self._clock = clock
        self._journal = journal
        self._pace = pace
        self._settings = settings
        self._cost = cost
        self._on_commit = on_commit
        self._epoch = 0
        self._armed_ns: int | None = None
        self._busy = False
        self._wants_full = False
        self._full_ns = 0
        self.requested = False
        self.running = True
        self.syncs = 0
        self.cpu_ns = 0
        client.watch((Service, EndpointSlice), self._on_event)

    # ---- what it sees ------------------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        if not self.running:
            return
        if self._take(event):
            self.request()

    def _take(self, event: Event) -> bool:
        tracker, obj = self.proxier.tracker, event.obj
        gone = event.change is Change.DELETED
        if isinstance(obj, Service):
            return tracker.on_service_deleted(obj.metadata.key) if gone else tracker.on_service(obj)
        if isinstance(obj, EndpointSlice):
            return tracker.on_slice_deleted(obj) if gone else tracker.on_slice(obj)
        return False

    # ---- syncs -------------------------------------------------------------------------------------------------------

    def settle(self, phase: float = 0.0) -> None:
        """Bring the node in line with what its tracker has, at once and free: the state that a run starts with.

        `phase` says which share of its period has passed since its last sync: nodes do not sync in step. The next full sync
        is a whole period away.
        """
        self.proxier.prepare(self._clock.now, full=True).commit()
        self._full_ns = self._clock.now
        self._arm(self._clock.now + round((1.0 - phase) * self._settings.period_ns))

    def request(self, *, full: bool = False) -> None:
        """Ask for a sync, as soon as the pace allows."""
        self.requested = True
        self._wants_full = self._wants_full or full
        if self.running and not self._busy:
            self._arm(self._pace.earliest_ns(self._clock.now))

    def _arm(self, at_ns: int) -> None:
        if self._armed_ns is not None and self._armed_ns <= at_ns:
            return
        self._armed_ns = at_ns
        epoch = self._epoch
        self._clock.after(at_ns - self._clock.now, lambda: self._begin(epoch, at_ns))

    def _arm_period(self) -> None:
        self._arm(self._clock.now + self._settings.period_ns)

    def _begin(self, epoch: int, at_ns: int) -> None:
        if epoch != self._epoch or self._armed_ns != at_ns or self._busy:
            return
        now = self._clock.now
        self._armed_ns = None
        self._busy = True
        self.requested = False
        full = self._wants_full or now - self._full_ns >= self._settings.full_period_ns
        self._wants_full = False
        if full:
            self._full_ns = now
        self._pace.begin(now)
        prepared = self.proxier.prepare(now, full=full)
        duration_ns = self._cost(prepared, len(self.proxier.tracker.services))
        self.cpu_ns += duration_ns
        self._clock.after(duration_ns, lambda: self._commit(epoch, prepared, now), COMMIT)

    def _commit(self, epoch: int, prepared: Prepared, began_ns: int) -> None:
        if epoch != self._epoch:
            return  # it was stopped in the middle: nothing was written
        now = self._clock.now
        prepared.commit()
        self._busy = False
        self.syncs += 1
        self._pace.end(now)
        self._on_commit(prepared.changes)
        if prepared.changes.keys or prepared.full:
            self._journal.add(
                now, Happening.PROXY_SYNCED, self._node, services=prepared.changes.keys, began_ns=began_ns, rules=prepared.rules,
                kind="full" if prepared.full else "partial",
            )
        if self.requested:
            self._arm(self._pace.earliest_ns(now))
        else:
            self._arm_period()

    # ---- stopping and starting ---------------------------------------------------------------------------------------

    def stop(self) -> None:
        """The process ends, perhaps while it starts; what it had not written is lost, the kernel's tables stay."""
        self._epoch += 1
        if self.running:
            self.running = False
            self._armed_ns = None
            self._busy = False
            self.requested = False
            self._journal.add(self._clock.now, Happening.PROXY_STOPPED, self._node)

    def become(self, proxier: Proxier, pace: Pace, settings: SyncSettings, cost: SyncCost) -> None:
        """Let the process that starts next run another mode; the one that ran must have stopped."""
        self.proxier = proxier
        self._pace = pace
        self._settings = settings
        self._cost = cost
        self._full_ns = 0

    def start(self, *, forgotten: bool = False) -> None:
        """The process starts: it lists everything and syncs in full; `forgotten`: the node lost power in the meantime."""
        if self.running:
            return
        if forgotten:
            self.proxier.forget()
        epoch = self._epoch

        def begin() -> None:
            self._clock.after(self._settings.start_ns, lambda: self._client.when_reachable(lambda: self._started(epoch)))

        self._client.when_reachable(begin)

    def _started(self, epoch: int) -> None:
        if epoch != self._epoch or self.running:
            return
        self.running = True
        self._journal.add(self._clock.now, Happening.PROXY_STARTED, self._node)
        self._client.start_anew()
        self._list()
        self.request(full=True)

    def _list(self) -> None:
        """Take over what the API server holds now."""
        tracker, store = self.proxier.tracker, self._client.store
        services = {service.metadata.key: service for service in store.each(Service)}
        slices = {piece.metadata.key: piece for piece in store.each(EndpointSlice)}
        for key in list(tracker.services):
            if key not in services:
                tracker.on_service_deleted(key)
        for pieces in list(tracker.slices.values()):
            for piece in pieces:
                if piece.metadata.key not in slices:
                    tracker.on_slice_deleted(piece)
        for service in services.values():
            tracker.on_service(service)
        for piece in slices.values():
            tracker.on_slice(piece)
