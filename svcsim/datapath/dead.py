"""Who answers for an address where nobody is: the pod's node, the sender's node, or nobody.

A removed pod's address still leads to its node. With a bridge CNI the node asks for a neighbour that never answers, and after
three probes tells the sender that the host is unreachable; with routed pods the route is gone and it says so at once. A node
without power is found out by its neighbours on the same segment (`l2`), and by nobody behind a router (`l3`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcsim.datapath.fabric import Fabric
from svcsim.results.records import Outcome

if TYPE_CHECKING:
    from svcsim.datapath.connection import Connection
    from svcsim.datapath.handshake import Handshakes
    from svcsim.datapath.host import Host


class DeadAddresses:
    """Answers, or silence, for SYNs to addresses where nobody is."""

    __slots__ = ("fabric",)

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric

    def address_is_silent(self, connection: Connection, host: Host, handshakes: Handshakes) -> None:
        """The SYN is on the node that the address belongs to, and no sandbox has it."""
        now = self.fabric.clock.now
        self.fabric.drop("no such pod")
        if self.fabric.settings.cni == "routed":
            handshakes.icmp_error(connection, host, now, Outcome.NO_ROUTE)
            return
        fails_at_ns = host.neighbours.fails_at(connection.backend_address, now)
        self._when_unresolved(connection, host, fails_at_ns, handshakes)

    def host_is_silent(
        self, connection: Connection, near: Host, far: Host, departure_ns: int, handshakes: Handshakes
    ) -> None:
        """The SYN leaves a node for one that does not answer."""
        self.fabric.drop("node unreachable")
        if self.fabric.settings.segment == "l3":
            handshakes.await_retransmission(connection)
            return
        fails_at_ns = near.neighbours.fails_at(far.namespace.towards(connection.backend_address), departure_ns)
        self._when_unresolved(connection, near, fails_at_ns, handshakes)

    def _when_unresolved(self, connection: Connection, host: Host, at_ns: int, handshakes: Handshakes) -> None:
        self.fabric.later(
            max(0, at_ns - self.fabric.clock.now),
            lambda: handshakes.icmp_error(connection, host, at_ns, Outcome.NO_ROUTE) if host.up else None,
        )
