"""Connections and requests: what travels, and how the time of a request is kept.

A request knows its connection, a connection its hosts and namespaces, never the other way round beyond the request that is
under way: the garbage collector rests during a run. Both are hops (`svcsim.engine.hop`): they are what the clock schedules.

The time from the intended send to the outcome is partitioned: `mark_ns` is when the current part began, `phase` says which
one it is, and each boundary adds now - mark to its part. So the parts sum to the latency, exactly.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from svcsim.engine.hop import Hop, Step
from svcsim.linux.address import LAST_IPV4
from svcsim.linux.packet import TCP
from svcsim.results.records import Outcome

if TYPE_CHECKING:
    from svcsim.datapath.host import Host, Listener, Namespace
    from svcsim.datapath.transfer import Sender
    from svcsim.linux.conntrack import Entry, State
    from svcsim.linux.packet import Flow
    from svcsim.linux.ports import PortAllocator


class Phase(IntEnum):
    """What a request waits for; each is a part of its latency."""

    WAIT = 0
    DNS = 1
    RETRY = 2
    CONNECT = 3
    REQUEST = 4
    QUEUE = 5
    SERVICE = 6
    RESPONSE = 7


WAIT, DNS, RETRY, CONNECT, REQUEST, QUEUE, SERVICE, RESPONSE = (int(phase) for phase in Phase)
"""The phases as plain ints: looking a member up in its enum takes four times as long, and each request does it often."""

_OK = Outcome.OK


class Client(Protocol):
    """Who sends requests on connections: a workload's client, a kubelet's prober, a resolver, a proxy."""

    def connected(self, connection: Connection, now_ns: int) -> None:
        """The handshake is complete."""

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """The connection will not be: refused, no route, or SYN retries used up."""

    def answered(self, request: Request, finish_ns: int) -> None:
        """The whole answer is in the client's hands at `finish_ns`, a little ahead of now."""

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """The request got an error: reset, refused (UDP), no route, shed by the server."""

    def disconnected(self, connection: Connection, now_ns: int) -> None:
        """The server closed or reset the connection while no request was on it."""


class Request(Hop):
    """One attempt at an application exchange.

    `connection` is set from the moment at which the request has one until it is recorded; `tag` is what the
    client keeps with it; `outer` is, for a request that a proxy sends on, the one that the proxy received. `flags` are those of
    `svcsim.results.records.Flag` that belong to the request and not to its connection. `status` is what the answer says: that it
    is one, or as which error the request ends.
    """

    __slots__ = (
        "answer_bytes", "attempt", "client", "connect_ns", "connection", "deadline_ns", "dns_ns", "extra_ns", "flags",
        "intended_ns", "is_probe", "live", "mark_ns", "outer", "payload", "phase", "pick_uniform", "position",
        "queue_ns", "request_bytes", "request_ns", "response_ns", "retry_ns", "sequence", "service_ns", "service_uniform",
        "status", "tag", "tail_ns", "transmission", "wait_ns",
    )

    connection: Connection
    tag: Any
    position: int
    transmission: int
    extra_ns: int

    def __init__(
        self, client: Client, sequence: int, intended_ns: int, request_bytes: int, answer_bytes: int,
        service_uniform: float, pick_uniform: float,
    ) -> None:
        self.client = client
        self.sequence = sequence
        self.intended_ns = self.mark_ns = intended_ns
        self.request_bytes = request_bytes
        self.answer_bytes = answer_bytes
        self.service_uniform = service_uniform
        self.pick_uniform = pick_uniform
        self.live = True
        self.status = _OK
        self.is_probe = False
        self.outer: Request | None = None
        self.payload: object | None = None
        self.attempt = self.phase = self.deadline_ns = self.flags = self.tail_ns = 0
        self.connection = None  # type: ignore[assignment]
        self.wait_ns = self.dns_ns = self.retry_ns = self.connect_ns = 0
        self.request_ns = self.queue_ns = self.service_ns = self.response_ns = 0

    def close_part(self, now_ns: int) -> None:
        """Book the time since the last boundary on the part that is under way."""
        spent_ns = now_ns - self.mark_ns
        self.mark_ns = now_ns
        phase = self.phase
        if phase == WAIT:
            self.wait_ns += spent_ns
        elif phase == DNS:
            self.dns_ns += spent_ns
        elif phase == RETRY:
            self.retry_ns += spent_ns
        elif phase == CONNECT:
            self.connect_ns += spent_ns
        elif phase == REQUEST:
            self.request_ns += spent_ns
        elif phase == QUEUE:
            self.queue_ns += spent_ns
        elif phase == SERVICE:
            self.service_ns += spent_ns
        else:
            self.response_ns += spent_ns

    def next_attempt(self, service_uniform: float, pick_uniform: float) -> Request:
        """The same request, to be tried again: what it has cost so far, except waiting and resolving, becomes `retry_ns`."""
        again = Request(
            self.client, self.sequence, self.intended_ns, self.request_bytes, self.answer_bytes, service_uniform, pick_uniform
        )
        again.attempt = self.attempt + 1
        again.mark_ns = self.mark_ns
        again.phase = RETRY
        again.wait_ns = self.wait_ns
        again.dns_ns = self.dns_ns
        again.retry_ns = (
            self.retry_ns + self.connect_ns + self.request_ns + self.queue_ns + self.service_ns + self.response_ns
        )
        return again


Station = tuple[list[int], int, int, int, Step]
"""A CPU queue on the way: (free instants of the host's queues, which one, cost, delay to the next, next step)."""

Way = tuple[Station, ...]


class Paths(NamedTuple):
    """The stations there and back, whether the way is rough, and the CPU time of an exchange that is due to the proxy's rules.

    A connection's first exchange has stations of its own: its server has to accept the connection, and the first answer of a UDP
    flow costs more.
    """

    forward: Way
    backward: Way
    lossy: bool
    proxy_exchange_ns: int
    first_forward: Way
    first_backward: Way


NO_PATHS = Paths((), (), False, 0, (), ())


class Connection(Hop):
    """A transport connection (TCP) or flow (UDP) between a client's port and a Service or address.

    `forward` and `backward` are the stations of the next packet in each direction, of all its `paths`, valid for `generation`.
    `near_entry` is the conntrack entry on the host that decides where it goes (`entry_host`), `far_entry` the one on the
    server's host if that is another. `sender` and `client_sender` have the congestion windows of server and client, None until a
    message is longer than the initial one (`svcsim.datapath.transfer`). While its first packet travels, `departure_ns` is when
    it leaves the host it is on, `source` and `backend_address` are where it comes from and where it is going (0 where no
    decision sent it anywhere). `endpoint` is who took it, -1 while nobody has. `endpoint_host` is where the endpoint is if a
    proxy on `server_host` leads to it. `client` is None once the client needs to hear nothing of it. `client_address` is its own
    of the destination's family, 0 if none.
    """

    __slots__ = (
        "backend_address", "backend_port", "backward", "client", "client_address", "client_port", "client_sender", "deadline_ns",
        "decisions", "departure_ns", "destination", "destination_port", "endpoint", "endpoint_host", "entry_host", "far_entry",
        "flags",
        "flow", "forward", "free_at_ns", "generation", "key", "lossy", "namespace", "near_entry", "open", "ordinal", "paths",
        "pick_uniform", "port_pool", "position", "protocol", "proxy_exchange_ns", "queue", "request", "rewritten", "rules",
        "sender", "server", "server_host", "server_namespace", "source", "source_port", "syn_attempt", "syn_sent_ns", "tag",
        "used",
    )

    client: Client | None
    entry_host: Host
    server_host: Host
    server_namespace: Namespace
    server: Listener | None
    position: int
    syn_sent_ns: int
    departure_ns: int
    queue: int
    source: int
    source_port: int
    backend_address: int
    backend_port: int
    proxy_exchange_ns: int
    lossy: bool
    rewritten: bool

    def __init__(
        self, client: Client, namespace: Namespace, client_port: int, destination: int, destination_port: int,
        protocol: int, key: int, pick_uniform: float,
    ) -> None:
        self.client = client
        self.namespace = namespace
        self.client_address = namespace.ipv6 if destination > LAST_IPV4 else namespace.ipv4
        self.client_port = client_port
        self.destination = destination
        self.destination_port = destination_port
        self.protocol = protocol
        self.key = key
        self.pick_uniform = pick_uniform
        self.ordinal = self.syn_attempt = self.decisions = self.deadline_ns = self.rules = self.flags = self.used = 0
        self.generation = self.endpoint = -1
        self.backend_address = self.backend_port = 0
        self.open = False
        self.request: Request | None = None
        self.server = None
        self.endpoint_host: Host | None = None
        self.entry_host = self.server_host = namespace.host
        self.server_namespace = namespace
        self.near_entry: Entry | None = None
        self.far_entry: Entry | None = None
        self.flow: Flow | None = None
        self.paths = NO_PATHS
        self.forward: Way = ()
        self.backward: Way = ()
        self.sender: Sender | None = None
        self.client_sender: Sender | None = None
        self.free_at_ns = 0
        self.port_pool: PortAllocator | None = None
        self.tag: Any = None

    @property
    def under_way(self) -> list[Request]:
        """What its client waits for on it."""
        return [] if self.request is None else [self.request]

    @property
    def is_tcp(self) -> bool:
        """Whether it has a handshake, retransmissions and an end."""
        return self.protocol == TCP

    def close_entries(self, state: State, now_ns: int) -> None:
        """The connection is over, and conntrack has seen how: what is left of its entries lingers."""
        entry = self.near_entry
        if entry is not None:
            self.entry_host.conntrack.close(entry, state, now_ns)
            self.near_entry = None
        entry = self.far_entry
        if entry is not None:
            self.server_host.conntrack.close(entry, state, now_ns)
            self.far_entry = None

    def return_port(self, free_at_ns: int) -> None:
        """The client's port is its own no longer; it may be taken again from `free_at_ns` on."""
        pool = self.port_pool
        if pool is not None:
            self.port_pool = None
            pool.give(self.client_port, free_at_ns)
