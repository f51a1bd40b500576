"""A host's first packets, with a tap on them."""

from __future__ import annotations

from svcsim.datapath.admission import FORWARD, REJECT, Fate, Gate
from svcsim.datapath.capture import Point, Tap, rewritten_text
from svcsim.datapath.connection import Connection
from svcsim.datapath.conversation import Conversation, Parcel
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host
from svcsim.linux.packet import Hook

Steps = list[tuple[int, Point | None]]


class TappedGate(Gate):
    """A host's first packets: what comes in, and what goes out as what."""

    __slots__ = ("tap",)

    def __init__(self, fabric: Fabric, tap: Tap) -> None:
        super().__init__(fabric)
        self.tap = tap

    def admit(self, connection: Connection, host: Host, hook: Hook) -> Fate:
        """As it is; shows the packet before and after."""
        tap = self.tap
        conversation = tap.of(connection)
        near = host is connection.entry_host
        hosts = [connection.namespace.host]
        if connection.entry_host is not hosts[0]:
            hosts.append(connection.entry_host)
        if not near:
            hosts.append(host)
        if conversation is None or not tap.watches(hosts[-1:]):
            return super().admit(connection, host, hook)
        now = self._environment._now
        rules = connection.rules
        steps: Steps = [(now, tap.left(connection, hosts, len(hosts) - 1))]
        fate = super().admit(connection, host, hook)
        comment = ""
        if fate is FORWARD:
            steps.append((connection.departure_ns, self._out(connection, hosts)))
            if near:
                comment = rewritten_text(connection, connection.rules - rules, tap.explain(connection, host))
        else:
            comment = "rejected" if fate is REJECT else f"dropped: {self.cause}"
        parcel = _opening(tap, conversation, connection)
        if parcel is not None:
            tap.show(conversation, parcel, connection.protocol, steps, forward=True, comment=comment)
        return fate

    def _out(self, connection: Connection, hosts: list[Host]) -> Point | None:
        """The interface by which an admitted packet leaves the last of these hosts."""
        tap, fabric = self.tap, self.fabric
        host = hosts[-1]
        target = fabric.homes.get(connection.backend_address)
        if target is host:
            if connection.backend_address == connection.client_address and not fabric.settings.hairpin:
                return None
            return tap.right(connection, hosts, len(hosts) - 1, fabric.namespaces.get(connection.backend_address))
        if target is None:
            return None
        if fabric.settings.segment == "l2" and (not target.up or fabric.route(host, target) is None):
            return None  # nobody answers ARP, and the packet waits in vain
        return tap.right(connection, [*hosts, target], len(hosts) - 1, None)


def _opening(tap: Tap, conversation: Conversation, connection: Connection) -> Parcel | None:
    """What a first packet is: the SYN, or the datagram that looks its flow up."""
    if connection.is_tcp:
        return conversation.opening
    request = tap.datagram
    train = conversation.there.get(request) if request is not None else None
    return train.parcels[0] if train is not None else None
