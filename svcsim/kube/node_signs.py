"""What a kubelet says of its node: lease renewals, the Ready condition, and whether the node reaches the API server at all.

Sources: pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodelease; component-helpers/apimachinery/lease.
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.engine.clock import Clock
from svcsim.kube.api.node import Node
from svcsim.kube.client import Client
from svcsim.kube.controllers.node_health import with_ready
from svcsim.kube.lifecycle import LeaseRenewals, next_tick_ns
from svcsim.kube.pod_events import PodEvents
from svcsim.kube.timings import Timings


class NodeSigns:
    """The signs of life of one node."""

    __slots__ = (
        "_client", "_clock", "_contact", "_events", "_lease", "_name", "_networked", "_power", "_status_phase_ns", "_timings",
    )

    def __init__(
        self, name: str, client: Client, clock: Clock, timings: Timings, events: PodEvents, contact: Callable[[bool], None],
        power: Callable[[], int], lease_phase_ns: int, status_phase_ns: int,
    ) -> None:
        """`power`: how often it has gone and come back, even while it is there; the phases are those of renewals and reports."""
        self._name = name
        self._client = client
        self._clock = clock
        self._timings = timings
        self._events = events
        self._contact = contact
        self._power = power
        self._status_phase_ns = status_phase_ns
        self._lease = LeaseRenewals(timings.lease_renew_ns, lease_phase_ns, clock.now)
        self._networked = True

    @property
    def _is_up(self) -> bool:
        return self._power() % 2 == 0

    def renewed_ns(self) -> int:
        """When the node's lease was last renewed."""
        return self._lease.renewed_ns(self._clock.now)

    def lost_contact(self) -> None:
        """The API server is out of reach, or the node has no power: no renewals from now on."""
        self._lease.stop(self._clock.now)

    def regained_contact(self) -> None:
        """The API server is in reach again: what it says of the node is looked at."""
        if self._is_up and self._client.reachable and self._lease.stopped:
            self._lease.resume(self._clock.now)
            current = self._client.store.get(Node, self._name)
            if current is not None:
                self.overwritten(current)

    def lose_network(self) -> None:
        """The node cannot reach the API server, with power or without, until `regain_network`."""
        self._networked = False
        self.lost_contact()
        self._client.set_connected(False)

    def regain_network(self) -> None:
        """The node can reach the API server again, if that is there and the node has power."""
        self._networked = True
        if self._is_up:
            self._client.set_connected(True)
            self._contact(True)
            self.regained_contact()

    def overwritten(self, node: Node) -> None:
        """Someone else has written the node's Ready condition: it is set right at the next node status update."""
        if node.is_ready or not self._is_up:
            return
        now, period_ns, power = self._clock.now, self._timings.node_status_update_ns, self._power()
        self._clock.after(next_tick_ns(now, period_ns, self._status_phase_ns) - now, lambda: self.report(power))

    def cordoned(self, node: Node) -> None:
        """The node's place in scheduling has changed; its kubelet says so."""
        if self._is_up:
            self._events.node_status(node, "NodeNotSchedulable" if node.spec.unschedulable else "NodeSchedulable")

    def report(self, power: int) -> None:
        """Say that the node is ready, where the API server has it otherwise, unless power has gone since (`power` is not it)."""
        if power != self._power() or not self._client.reachable:
            return  # contact regained looks again
        current = self._client.store.get(Node, self._name)
        if current is not None and not current.is_ready:
            self._client.update_status(with_ready(current, "True", "KubeletReady", self._clock.now))
            self._events.node_status(current, "NodeReady")

    def went_dark(self) -> None:
        """The node has lost its power, and so its network."""
        self._client.set_connected(False)
        self._contact(False)

    def came_back(self) -> None:
        """The node has booted: its kubelet connects anew, if the network is there."""
        self._client.set_connected(self._networked)
        self._client.start_anew()
        self._contact(self._networked)

    def begin_anew(self) -> None:
        """Renew the lease from now on."""
        self._lease.resume(self._clock.now)
