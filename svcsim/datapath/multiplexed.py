"""A connection that carries many requests at a time, each on a stream of its own: HTTP/2, and gRPC over it.

Sources: RFC 9113, 5.1 (streams) and 6.8 (GOAWAY).
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.datapath.connection import Client, Connection, Request
from svcsim.datapath.host import Namespace


def _nobody_minds(connection: MultiplexedConnection, now_ns: int) -> None:
    """What becomes of a GOAWAY that nobody waits for."""


class MultiplexedConnection(Connection):
    """`streams` are the requests that its client waits for; `ready` says that it stands, as its client knows it, `leaving` that
    the server wants no further streams. The client hears of that by `on_go_away`, called with the connection and the time.
    """

    __slots__ = ("leaving", "on_go_away", "ready", "streams")

    def __init__(
        self, client: Client, namespace: Namespace, client_port: int, destination: int, destination_port: int,
        protocol: int, key: int, pick_uniform: float,
    ) -> None:
        super().__init__(client, namespace, client_port, destination, destination_port, protocol, key, pick_uniform)
        self.streams: dict[Request, None] = {}
        self.ready = False
        self.leaving = False
        self.on_go_away: Callable[[MultiplexedConnection, int], None] = _nobody_minds

    @property
    def under_way(self) -> list[Request]:
        """The requests of all streams, in the order in which they were opened."""
        return list(self.streams)
