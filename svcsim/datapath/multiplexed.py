"""A connection that carries many requests at a time, each on a stream of its own: HTTP/2, and gRPC over it.

Sources: RFC 9113, 5.1 (streams) and 6.8 (GOAWAY).
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.datapath.connection import Client, Connection, Request
from svcsim.datapath.host import Host, Namespace
from svcsim.results.records import Flag

_UNREACHED = int(Flag.UNREACHED)


def _nobody_minds(connection: MultiplexedConnection, now_ns: int) -> None:
    """What becomes of a GOAWAY that nobody waits for."""


def _goes_on(request: Request) -> None:
    """What becomes of a RST_STREAM that changes nothing: the server finishes what it has begun."""


class Gap:
    """A request or an answer (not `forward`) that is missing at its receiver, and was first sent at `sent_ns`.

    `turn` counts what happened to it, so that a timer knows whether it is still meant; `told` says that its sender knows.
    """

    __slots__ = ("forward", "request", "sent_ns", "told", "turn")

    def __init__(self, request: Request, sent_ns: int, *, forward: bool) -> None:
        self.request = request
        self.sent_ns = sent_ns
        self.forward = forward
        self.told = False
        self.turn = 0


class MultiplexedConnection(Connection):
    """`streams` are the requests that its client waits for; `ready` says that it stands, as its client knows it, `leaving` that
    the server wants no further streams. The client hears of that by `on_go_away`, called with the connection and the time; the
    server hears of a request that the client gave up by `on_give_up`. `led_to` says of each request that a proxy at the other end
    led on what `endpoint`, `endpoint_host` and the flag UNREACHED say of a connection that carries one at a time. `gaps` are what
    was lost on the way, `held` what arrived behind it (`svcsim.datapath.in_order`).
    """

    __slots__ = ("gaps", "held", "leaving", "led_to", "on_give_up", "on_go_away", "ready", "streams")

    def __init__(
        self, client: Client, namespace: Namespace, client_port: int, destination: int, destination_port: int,
        protocol: int, key: int, pick_uniform: float,
    ) -> None:
        super().__init__(client, namespace, client_port, destination, destination_port, protocol, key, pick_uniform)
        self.streams: dict[Request, None] = {}
        self.ready = False
        self.leaving = False
        self.on_go_away: Callable[[MultiplexedConnection, int], None] = _nobody_minds
        self.on_give_up: Callable[[Request], None] = _goes_on
        self.gaps: dict[Request, Gap] = {}
        self.held: list[Request] = []
        self.led_to: dict[Request, tuple[int, Host | None, int]] = {}

    @property
    def under_way(self) -> list[Request]:
        """The requests of all streams, in the order in which they were opened."""
        return list(self.streams)

    def note(self, request: Request) -> None:
        """Keep with a request where the connection leads now, since it leads other requests elsewhere."""
        self.led_to[request] = (self.endpoint, self.endpoint_host, self.flags & _UNREACHED)

    def recall(self, request: Request) -> None:
        """Let the connection lead where this request was led, if a proxy led it anywhere."""
        led_to = self.led_to.get(request)
        if led_to is not None:
            self.endpoint, self.endpoint_host, unreached = led_to
            self.flags = self.flags & ~_UNREACHED | unreached
