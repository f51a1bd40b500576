"""One node's kube-proxy as a process: it watches Services and slices, and writes what changed into the node's kernel.

A change that its watch delivers asks for a sync; requests are coalesced and paced (`svcsim.kubeproxy.pace`). A sync takes what is
pending when it begins, and packets see it when it ends: after kube-proxy's own work and the time that the kernel's tables take to
be written. What arrives in between waits for the next one. When kube-proxy stops, the rules stay as they are.

On a dual-stack node each family has a proxier with a loop of its own; they begin together and share nothing but the watch (the
lock that iptables and ip6tables share is not modelled).

Sources: cmd/kube-proxy/app/server.go, pkg/proxy/metaproxier, pkg/proxy/{iptables,ipvs,nftables}/proxier.go (`syncProxyRules`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from svcsim.engine.clock import COMMIT, Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kube.client import Client
from svcsim.kube.store import Change, Event, Store
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


OnCommit = Callable[[Proxier, Changes], None]
"""Called after each sync, with the proxier whose sync it was."""


class _Loop:
    """The sync loop of one proxier: when it syncs, and what it has asked for."""

    __slots__ = ("armed_ns", "busy", "full_ns", "pace", "proxier", "requested", "syncs", "wants_full")

    def __init__(self, proxier: Proxier, pace: Pace) -> None:
        self.proxier = proxier
        self.pace = pace
        self.armed_ns: int | None = None
        self.busy = False
        self.wants_full = False
        self.full_ns = 0
        self.requested = False
        self.syncs = 0

    def take(self, event: Event) -> bool:
        """Note a change that the watch has delivered; True if something is pending now."""
        tracker, obj = self.proxier.tracker, event.obj
        gone = event.change is Change.DELETED
        if isinstance(obj, Service):
            return tracker.on_service_deleted(obj.metadata.key) if gone else tracker.on_service(obj)
        if isinstance(obj, EndpointSlice):
            return tracker.on_slice_deleted(obj) if gone else tracker.on_slice(obj)
        return False

    def list(self, store: Store) -> None:
        """Take over what the API server holds now."""
        tracker = self.proxier.tracker
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


class KubeProxy:
    """kube-proxy on one node: one watch, and a proxier with a sync loop of its own for each family (meta_proxier.go)."""

    __slots__ = (
        "_client", "_clock", "_cost", "_epoch", "_journal", "_loops", "_node", "_on_commit", "_settings", "cpu_ns", "running",
    )

    def __init__(
        self, node: str, proxiers: Sequence[Proxier], client: Client, clock: Clock, journal: Journal, pace: Callable[[], Pace],
        settings: SyncSettings, cost: SyncCost, on_commit: OnCommit,
    ) -> None:
        """`pace` makes the pace of one loop."""
        self._node = node
        self._loops = tuple(_Loop(proxier, pace()) for proxier in proxiers)
        self._client = client
        self._clock = clock
        self._journal = journal
        self._settings = settings
        self._cost = cost
        self._on_commit = on_commit
        self._epoch = 0
        self.running = True
        self.cpu_ns = 0
        client.watch((Service, EndpointSlice), self._on_event)

    @property
    def syncs(self) -> int:
        """How often it has written, of all loops."""
        return sum(loop.syncs for loop in self._loops)

    def _on_event(self, event: Event) -> None:
        if not self.running:
            return
        for loop in self._loops:
            if loop.take(event):
                self._request(loop)

    # ---- syncs -------------------------------------------------------------------------------------------------------

    def settle(self, phase: float = 0.0) -> None:
        """Bring the node in line with what its trackers have, at once and free: the state that a run starts with.

        `phase` says which share of its period has passed since its last sync: nodes do not sync in step. The next full sync
        is a whole period away.
        """
        for loop in self._loops:
            loop.proxier.prepare(self._clock.now, full=True).commit()
            loop.full_ns = self._clock.now
            self._arm(loop, self._clock.now + round((1.0 - phase) * self._settings.period_ns))

    def request(self, *, full: bool = False) -> None:
        """Ask for a sync of every family, as soon as the pace allows."""
        for loop in self._loops:
            self._request(loop, full=full)

    def _request(self, loop: _Loop, *, full: bool = False) -> None:
        loop.requested = True
        loop.wants_full = loop.wants_full or full
        if self.running and not loop.busy:
            self._arm(loop, loop.pace.earliest_ns(self._clock.now))

    def _arm(self, loop: _Loop, at_ns: int) -> None:
        if loop.armed_ns is not None and loop.armed_ns <= at_ns:
            return
        loop.armed_ns = at_ns
        epoch = self._epoch
        self._clock.after(at_ns - self._clock.now, lambda: self._begin(loop, epoch, at_ns))

    def _begin(self, loop: _Loop, epoch: int, at_ns: int) -> None:
        if epoch != self._epoch or loop.armed_ns != at_ns or loop.busy:
            return
        now = self._clock.now
        loop.armed_ns = None
        loop.busy = True
        loop.requested = False
        full = loop.wants_full or now - loop.full_ns >= self._settings.full_period_ns
        loop.wants_full = False
        if full:
            loop.full_ns = now
        loop.pace.begin(now)
        prepared = loop.proxier.prepare(now, full=full)
        duration_ns = self._cost(prepared, len(loop.proxier.tracker.services))
        self.cpu_ns += duration_ns
        self._clock.after(duration_ns, lambda: self._commit(loop, epoch, prepared, now), COMMIT)

    def _commit(self, loop: _Loop, epoch: int, prepared: Prepared, began_ns: int) -> None:
        if epoch != self._epoch:
            return  # it was stopped in the middle: nothing was written
        now = self._clock.now
        prepared.commit()
        loop.busy = False
        loop.syncs += 1
        loop.pace.end(now)
        self._on_commit(loop.proxier, prepared.changes)
        if prepared.changes.keys or prepared.full:
            several = {"family": loop.proxier.tracker.catalogue.family} if len(self._loops) > 1 else {}
            self._journal.add(
                now, Happening.PROXY_SYNCED, self._node, services=prepared.changes.keys, began_ns=began_ns, rules=prepared.rules,
                kind="full" if prepared.full else "partial", **several,
            )
        if loop.requested:
            self._arm(loop, loop.pace.earliest_ns(now))
        else:
            self._arm(loop, now + self._settings.period_ns)

    # ---- stopping and starting ---------------------------------------------------------------------------------------

    def stop(self) -> None:
        """The process ends, perhaps while it starts; what it had not written is lost, the kernel's tables stay."""
        self._epoch += 1
        if self.running:
            self.running = False
            for loop in self._loops:
                loop.armed_ns = None
                loop.busy = False
                loop.requested = False
            self._journal.add(self._clock.now, Happening.PROXY_STOPPED, self._node)

    def become(self, proxiers: Sequence[Proxier], pace: Callable[[], Pace], settings: SyncSettings, cost: SyncCost) -> None:
        """Let the process that starts next run another mode; the one that ran must have stopped."""
        self._loops = tuple(_Loop(proxier, pace()) for proxier in proxiers)
        self._settings = settings
        self._cost = cost

    def start(self, *, forgotten: bool = False) -> None:
        """The process starts: it lists everything and syncs in full; `forgotten`: the node lost power in the meantime."""
        if self.running:
            return
        if forgotten:
            for loop in self._loops:
                loop.proxier.forget()
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
        for loop in self._loops:
            loop.list(self._client.store)
        self.request(full=True)
