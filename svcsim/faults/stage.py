"""What faults act on: the parts of a world that they reach into, their targets, and what several of them hold at once.

What several acts do to one thing lasts until the last of them is lifted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from svcsim.datapath.host import Host
from svcsim.datapath.network import Network
from svcsim.engine.clock import Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.faults.owners import nodes_of, pods_of
from svcsim.kube.api.pod import Pod
from svcsim.kube.store import Store
from svcsim.scenario import faults as models
from svcsim.scenario.target import Target
from svcsim.workload.server import Server

Undo = Callable[[], None]
Effect = tuple[list[Pod], list[str], Undo | None]
"""The pods and nodes that an act concerns, and what lifts it."""
T = TypeVar("T", bound=Hashable)


class Machinery(Protocol):
    """What acts reach into: the parts of a world that only it knows."""

    @property
    def store(self) -> Store:
        """The API server's objects."""

    def servers_of(self, pods: Iterable[Pod]) -> list[Server]:
        """The processes that run in these pods now."""

    def kill_container(self, pod: Pod) -> None:
        """The pod's container exits; its kubelet will find out."""

    def fail_readiness(self, pod: Pod, failing: bool) -> None:
        """Let the pod's readiness probes fail, or judge by their answers again."""

    def node_down(self, name: str) -> None:
        """Power off."""

    def node_up(self, name: str) -> None:
        """Power on."""

    def cut_off(self, names: list[str]) -> None:
        """Separate nodes from all others and from the API server."""

    def reconnect(self, names: list[str]) -> None:
        """Undo `cut_off`."""

    def stop_proxy(self, name: str) -> None:
        """End a node's kube-proxy."""

    def start_proxy(self, name: str) -> None:
        """Start it again."""

    def api_server(self, *, available: bool) -> None:
        """Take the API server away, or bring it back."""

    def lose_ipvs_modules(self, name: str) -> None:
        """A node's kernel has no IPVS from now on; a kube-proxy that starts finds out."""


@dataclass(slots=True)
class Act:
    """One fault of a scenario, with its number."""

    index: int
    fault: models.Fault


@dataclass(slots=True)
class Stage:
    """A run's things as acts see them; `place` says where a part of the scenario, as `faults[0]`, stands in its file.

    `limits` are those of the hosts' tables of connections, by the act that set them; -1 stands for what the node came with.
    """

    machinery: Machinery
    network: Network
    clock: Clock
    journal: Journal
    place: Callable[[str], str]
    limits: dict[str, dict[int, int]] = field(default_factory=dict)
    _held: dict[tuple[str, Any], int] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Write a remark into the journal."""
        self.journal.add(self.clock.now, Happening.NOTE, text)

    def take(self, what: str, things: Iterable[T]) -> list[T]:
        """Hold each thing in a state; those that no other act holds in it are returned: with them it begins."""
        fresh = []
        for thing in things:
            count = self._held.get((what, thing), 0)
            self._held[(what, thing)] = count + 1
            if not count:
                fresh.append(thing)
        return fresh

    def give_back(self, what: str, things: Iterable[T]) -> list[T]:
        """Undo one `take`; those that no other act holds any more are returned: for them it ends."""
        free = []
        for thing in things:
            count = self._held[(what, thing)] - 1
            self._held[(what, thing)] = count
            if not count:
                free.append(thing)
        return free

    def pods(self, targets: Iterable[Target]) -> list[Pod]:
        """The pods that targets mean now."""
        found: dict[str, Pod] = {}
        for target in targets:
            for pod in pods_of(self.machinery.store, target):
                found[pod.metadata.key] = pod
        return list(found.values())

    def nodes(self, targets: Iterable[Target]) -> list[str]:
        """The names of the nodes that targets mean now."""
        return nodes_of(self.machinery.store, targets)

    def hosts(self, names: Iterable[str]) -> list[Host]:
        """The hosts of these names."""
        wanted = set(names)
        return [host for host in self.network.fabric.hosts if host.name in wanted]
