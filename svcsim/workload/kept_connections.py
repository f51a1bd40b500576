"""Idle connections to endpoints, which a proxy keeps: the one used last is taken first, the one unused longest is closed first.

Source: nginx src/http/modules/ngx_http_upstream_keepalive_module.c; ingress-nginx's upstream-keepalive-connections, -timeout and
-requests.
"""

from __future__ import annotations

from svcsim.datapath.connection import Connection
from svcsim.datapath.network import Network
from svcsim.engine.timers import TimerFifo


class _Kept:
    """An idle connection, until its timer closes it."""

    __slots__ = ("connection", "deadline_ns")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.deadline_ns = 0


class KeptConnections:
    """The idle connections of one proxy."""

    __slots__ = ("_free", "_idle", "_network", "_requests", "_room", "_timers")

    def __init__(self, network: Network, room: int, kept_for_ns: int, requests_per_connection: int) -> None:
        """`room`: so many are kept at most."""
        self._network = network
        self._room = room
        self._requests = requests_per_connection
        self._free: dict[tuple[int, int], list[_Kept]] = {}
        self._idle: dict[_Kept, None] = {}
        self._timers: TimerFifo[_Kept] = TimerFifo(network.fabric.clock, kept_for_ns, self._timed_out)

    def take(self, destination: tuple[int, int]) -> Connection | None:
        """One that leads to an address and port; None if there is none."""
        kept = self._free.get(destination)
        if not kept:
            return None
        taken = kept.pop()
        taken.deadline_ns = 0
        del self._idle[taken]
        return taken.connection

    def keep(self, connection: Connection) -> None:
        """Keep one that is open and may have further requests, else close it."""
        if not connection.open:
            return
        if not self._room or connection.used >= self._requests:
            self._network.handshakes.close(connection)
            return
        kept = _Kept(connection)
        self._idle[kept] = None
        self._free.setdefault((connection.destination, connection.destination_port), []).append(kept)
        self._timers.set(kept)
        if len(self._idle) > self._room:
            self._close(next(iter(self._idle)))

    def closed(self, connection: Connection) -> None:
        """The endpoint has closed a connection, which may be one of these."""
        for kept in self._free.get((connection.destination, connection.destination_port), ()):
            if kept.connection is connection:
                self._forget(kept)
                return

    def close_all(self) -> None:
        """Close all of them."""
        for kept in list(self._idle):
            self._close(kept)

    def forget_all(self) -> list[Connection]:
        """Give them up without closing them; these they were."""
        connections = [kept.connection for kept in self._idle]
        for kept in self._idle:
            kept.deadline_ns = 0
        self._idle.clear()
        self._free.clear()
        return connections

    def _timed_out(self, kept: _Kept) -> None:
        if kept in self._idle:
            self._close(kept)

    def _close(self, kept: _Kept) -> None:
        self._forget(kept)
        self._network.handshakes.close(kept.connection)

    def _forget(self, kept: _Kept) -> None:
        kept.deadline_ns = 0
        del self._idle[kept]
        self._free[(kept.connection.destination, kept.connection.destination_port)].remove(kept)
