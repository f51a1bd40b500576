"""The way of a request and its answer on an established connection.

A train is an event when it reaches a host's CPU queue or a socket. A queue is a FIFO by arithmetic: the departure follows from
the instant at which the queue is free, with no event of its own. The delivery to a client's socket is a pure delay, since
nothing is decided there but the client's own next step.

On a path without jitter, loss and finite links the steps below are all there is; `svcsim.datapath.rough` has the others, and
`svcsim.datapath.transfer` those of messages that are longer than the initial window.
"""

from __future__ import annotations

from itertools import pairwise

from svcsim.datapath.connection import NO_PATHS, REQUEST, RESPONSE, Connection, Paths, Request, Station
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host
from svcsim.datapath.in_order import InOrder
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.datapath.rough import RoughPath
from svcsim.datapath.tracking import Tracked
from svcsim.datapath.transfer import Transfers
from svcsim.engine.hop import Step
from svcsim.linux.conntrack import State
from svcsim.linux.tcp import INITIAL_WINDOW_BYTES, SEGMENT_BYTES
from svcsim.results.records import Flag, Outcome

_RETRANSMITTED = int(Flag.RETRANSMITTED)


class Exchanges:
    """All steps of established traffic. One object a world; it holds no state of a connection."""

    __slots__ = (
        "_back", "_backlog_ns", "_counts", "_environment", "_first_at_server", "_paths", "_paths_generation",
        "_resend_answer_step", "_resend_step", "_there", "at_server", "fabric", "in_order", "rough", "transfers",
    )

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self._environment = fabric.environment
        self._counts = fabric.counts
        self._backlog_ns = fabric.settings.backlog_ns
        self._there: Step = (self._on_station_there,)
        self._back: Step = (self._on_station_back,)
        self.at_server: Step = (self._on_server_socket,)
        self._first_at_server: Step = (self._on_first_at_server,)
        self._resend_step: Step = (self._resend,)
        self._resend_answer_step: Step = (self._resend_answer,)
        self._paths: dict[tuple[int, int, int, int, bool, bool, int], Paths] = {}
        self._paths_generation = -1
        self.rough = RoughPath(fabric, self)
        self.in_order = InOrder(self, self._resend, self._resend_answer)
        self.transfers = Transfers(fabric, self)

    # ---- the request's way -------------------------------------------------------------------------------------------

    def send(self, request: Request) -> None:
        """The client writes the request to its established connection, now."""
        connection = request.connection
        request.phase = REQUEST
        request.position = request.transmission = 0
        connection.request = request
        self._counts.sent += 1
        if connection.flow is not None and not self.balanced(connection):
            return
        if request.request_bytes > SEGMENT_BYTES:
            if request.request_bytes > INITIAL_WINDOW_BYTES and connection.is_tcp:
                self._counts.sent -= 1  # its trains count, each
                self.transfers.begin(request)
                return
            if copied_ns := self._charge_size(request, request.request_bytes):
                request.callbacks = self._there
                self._environment.at(request, self._environment._now + copied_ns)
                return
        else:
            request.extra_ns = 0
        self._on_station_there(request)

    def balanced(self, connection: Connection) -> bool:
        """Whether IPVS has the entry that takes a segment to its server; if not, the node that it is on answers with a RST."""
        flow = connection.flow
        if flow is None or not connection.is_tcp or flow.on_packet(self._environment._now):
            return True
        if isinstance(flow, Tracked) and flow.has_balancer_entry(self._environment._now):
            return flow.passes(connection, self._environment._now)
        self.fabric.drop("no IPVS entry")
        self.send_reset(connection, by_entry_host=True)
        return False

    def _on_station_there(self, request: Request) -> None:
        """The train reaches a host's CPU queue on its way to the server."""
        connection = request.connection
        if connection.generation != self.fabric.generation and not self.revalidate(connection):
            self._blocked(request)
            return
        now = self._environment._now
        try:
            free, queue, cost_ns, delay_ns, step = connection.forward[request.position]
        except IndexError:  # a UDP socket's flow leads to a nearer endpoint since this datagram was sent
            self.lost(request, "flow moved")
            return
        start = free[queue]
        if start < now:
            start = now
        elif start - now > self._backlog_ns:
            self.lost(request, "softirq backlog")
            return
        free[queue] = departure = start + cost_ns + request.extra_ns
        request.position += 1
        if connection.lossy:
            self.rough.forward(request, departure, cost_ns, delay_ns, step)
            return
        request.callbacks = step
        self._environment.at(request, departure + delay_ns)

    def _on_server_socket(self, request: Request) -> None:
        """The train is in the server's socket."""
        connection = request.connection
        server = connection.server
        if server is None or not connection.open:
            self._on_no_socket(request)
            return
        self._counts.delivered += 1
        now = self._environment._now
        request.request_ns += now - request.mark_ns
        request.mark_ns = now
        server.arrive(request, now)

    def _on_first_at_server(self, request: Request) -> None:
        """The first train on a connection is in the server's socket, and the process has accepted the connection."""
        connection = request.connection
        connection.forward = connection.paths.forward
        self._on_server_socket(request)

    def _on_no_socket(self, request: Request) -> None:
        """The pod that the train was for has gone, or lives without this socket."""
        if request.connection.backend_address not in self.fabric.namespaces:
            self.lost(request, "no such pod")
            return
        self._counts.delivered += 1
        if request.live:
            self.answer_reset(request)

    # ---- the answer's way --------------------------------------------------------------------------------------------

    def respond(self, request: Request) -> None:
        """The server writes the answer, now; the request's part RESPONSE has begun."""
        connection = request.connection
        self._counts.sent += 1
        request.phase = RESPONSE
        request.position = request.transmission = 0
        if not connection.open:
            self.fabric.drop("connection closed")
            return
        if request.answer_bytes > SEGMENT_BYTES:
            if request.answer_bytes > INITIAL_WINDOW_BYTES and connection.is_tcp:
                self._counts.sent -= 1
                self.transfers.begin(request)
                return
            if copied_ns := self._charge_size(request, request.answer_bytes):
                request.callbacks = self._back
                self._environment.at(request, self._environment._now + copied_ns)
                return
        else:
            request.extra_ns = 0
        self._on_station_back(request)

    def _on_station_back(self, request: Request) -> None:
        """The answer's train reaches a host's CPU queue on its way to the client."""
        connection = request.connection
        if connection.generation != self.fabric.generation and not self.revalidate(connection):
            self.lost_answer(request, "no path")
            return
        now = self._environment._now
        backward = connection.backward
        try:
            free, queue, cost_ns, delay_ns, step = backward[request.position]
        except IndexError:  # as above: conntrack knows nothing any more of the flow that this answers
            self.lost_answer(request, "flow moved")
            return
        start = free[queue]
        if start < now:
            start = now
        elif start - now > self._backlog_ns:
            self.lost_answer(request, "softirq backlog")
            return
        free[queue] = departure = start + cost_ns + request.extra_ns
        request.position += 1
        if connection.lossy:
            self.rough.backward(request, departure, cost_ns, delay_ns, step)
            return
        if request.position == len(backward):
            self.deliver(request, departure + delay_ns)
            return
        request.callbacks = step
        self._environment.at(request, departure + delay_ns)

    def deliver(self, request: Request, finish_ns: int) -> None:
        """The answer is in the client's hands at `finish_ns`."""
        self._counts.delivered += 1
        if not request.live:
            return
        deadline_ns = request.deadline_ns
        if deadline_ns and finish_ns > deadline_ns:
            return
        request.live = False
        request.deadline_ns = 0
        request.response_ns += finish_ns - request.mark_ns
        request.mark_ns = finish_ns
        connection = request.connection
        connection.request = None
        connection.free_at_ns = finish_ns
        connection.used += 1
        connection.entry_host.proxy_ns += connection.proxy_exchange_ns
        request.client.answered(request, finish_ns)
        if not connection.open and connection.client is not None and not connection.under_way:
            self._disconnect(connection)  # a FIN came behind the answer

    # ---- what is lost ------------------------------------------------------------------------------------------------

    def lost(self, request: Request, cause: str) -> None:
        """A train to the server goes no further; TCP sends it again, UDP leaves it to the client's time-out."""
        self.fabric.drop(cause)
        self._send_again_later(request, self._resend_step)

    def lost_answer(self, request: Request, cause: str) -> None:
        """A train to the client goes no further; the server's TCP sends it again while the client waits."""
        self.fabric.drop(cause)
        self._send_again_later(request, self._resend_answer_step)

    def _send_again_later(self, request: Request, step: Step) -> None:
        if isinstance(request.connection, MultiplexedConnection):
            self.in_order.lost(request, request.connection)
            return
        if request.live and request.connection.is_tcp:
            timers = self.fabric.settings.timers
            if request.transmission < timers.data_retries:
                request.callbacks = step
                self.fabric.schedule(request, timers.data_wait_ns(request.transmission))
                request.transmission += 1
                request.flags |= _RETRANSMITTED

    def _resend(self, request: Request) -> None:
        connection = request.connection
        if request.live and request in connection.under_way:
            self._counts.sent += 1
            if self.balanced(connection):
                request.position = 0
                self._on_station_there(request)

    def _resend_answer(self, request: Request) -> None:
        connection = request.connection
        if request.live and connection.server_namespace.alive and connection.server_host.up:
            self._counts.sent += 1
            request.position = 0
            self._on_station_back(request)

    def _blocked(self, request: Request) -> None:
        """Nothing gets through. A node that has lost power forgot the translation of a flow and answers for itself: RST."""
        connection = request.connection
        entry = connection.near_entry
        gone = entry is not None and entry.expires_ns <= self._environment._now
        if gone and connection.is_tcp and connection.entry_host.up:
            self.fabric.drop("no conntrack entry")
            self.send_reset(connection, by_entry_host=True)
        else:
            self.lost(request, "no path")

    def answer_reset(self, request: Request) -> None:
        """The socket that the request reached is no longer there: RST to the client, or ICMP port unreachable over UDP."""
        connection = request.connection
        if connection.is_tcp:
            self.send_reset(connection)
        else:
            self._port_unreachable(request)

    def send_reset(self, connection: Connection, *, by_entry_host: bool = False) -> None:
        """The server's kernel, or the deciding node's, resets the connection: RST to the client, entries close.

        The client learns of it by `failed` for the request under way and `disconnected`; the server's side is gone at once.
        """
        fabric = self.fabric
        now = self._environment._now
        connection.open = False
        delay_ns = self._reset_delay_ns(connection, by_entry_host=by_entry_host)
        connection.close_entries(State.CLOSE, now)
        if connection.flow is not None:
            connection.flow.on_reset(now)
        server, connection.server = connection.server, None
        if server is not None:
            server.disconnected(connection)
        self._counts.sent += 1
        if delay_ns is None:
            fabric.drop("no path")
        elif connection.lossy and self.rough.loses_reset(connection):
            fabric.drop("link loss")
        else:
            fabric.later(delay_ns, lambda: self._on_reset(connection))

    def _on_reset(self, connection: Connection) -> None:
        """The RST (or FIN) is with the client, unless it comes behind an answer that is still on its way."""
        self._counts.delivered += 1
        client = connection.client
        if client is None:
            return
        answers_come = False
        for request in connection.under_way:
            if not request.live:
                continue
            if request.phase == RESPONSE:
                answers_come = True
                continue
            request.live = False
            request.deadline_ns = 0
            connection.request = None
            client.failed(request, Outcome.RESET, self._environment._now)
        if not answers_come:
            self._disconnect(connection)

    def _disconnect(self, connection: Connection) -> None:
        """The client learns that its connection is gone, if it has not closed it meanwhile."""
        client, connection.client = connection.client, None
        if client is not None:
            now = self._environment._now
            connection.return_port(now)
            client.disconnected(connection, now)

    def send_go_away(self, connection: MultiplexedConnection) -> None:
        """The server wants no more streams on the connection (HTTP/2 GOAWAY): its client learns of it, if that gets through."""
        self._counts.sent += 1
        delay_ns = self._reset_delay_ns(connection, by_entry_host=False)
        if delay_ns is None:
            self.fabric.drop("no path")
        else:
            self.fabric.later(delay_ns, lambda: self._on_go_away(connection))

    def _on_go_away(self, connection: MultiplexedConnection) -> None:
        self._counts.delivered += 1
        if connection.open and connection.client is not None:
            connection.on_go_away(connection, self._environment._now)

    def _reset_delay_ns(self, connection: Connection, *, by_entry_host: bool) -> int | None:
        """How long a RST takes to the client, queues left out; None if it does not get there."""
        fabric = self.fabric
        client_host = connection.namespace.host
        source = connection.entry_host if by_entry_host else connection.server_host
        route = fabric.route(source, client_host) if source is not client_host else None
        if not source.up or not client_host.up or (route is None and source is not client_host):
            return None
        if by_entry_host or not connection.backward:
            return (route.delay_ns if route is not None else 0) + client_host.charges.client_receive_ns
        return self.return_delay_ns(connection)

    def _port_unreachable(self, request: Request) -> None:
        connection = request.connection
        host = connection.server_host
        if host.up and host.icmp.allow(connection.client_address, self._environment._now):
            self._send_port_unreachable(request)

    def _send_port_unreachable(self, request: Request) -> None:
        """The ICMP error leaves the pod."""
        self.fabric.later(self.return_delay_ns(request.connection), lambda: self._on_port_unreachable(request))

    def _on_port_unreachable(self, request: Request) -> None:
        if request.live:
            request.live = False
            request.deadline_ns = 0
            request.connection.request = None
            request.client.failed(request, Outcome.REFUSED, self._environment._now)

    # ---- paths -------------------------------------------------------------------------------------------------------

    def build_paths(self, connection: Connection) -> bool:
        """Give the connection the stations of both directions, from the hosts that it crosses; False if no route leads there."""
        fabric = self.fabric
        if self._paths_generation != fabric.generation:
            self._paths.clear()
            self._paths_generation = fabric.generation
        namespace = connection.namespace
        key = (
            namespace.host.index, connection.entry_host.index, connection.server_host.index, connection.queue & 63,
            connection.rewritten, connection.source != connection.client_address, connection.protocol,
        )
        paths = self._paths.get(key)
        if paths is None:
            paths = self._paths[key] = self._compute_paths(connection)
        if not paths[0]:
            return False
        connection.paths = paths
        connection.forward, connection.backward, connection.lossy, connection.proxy_exchange_ns, _, _ = paths
        connection.generation = fabric.generation
        return True

    def _compute_paths(self, connection: Connection) -> Paths:
        fabric = self.fabric
        hosts = self.hosts_of(connection)
        client_host, server_host = hosts[0], hosts[-1]
        if not all(host.up for host in hosts):
            return NO_PATHS
        delays: list[int] = []
        delays_back: list[int] = []
        lossy = False
        for near, far in pairwise(hosts):
            route = fabric.route(near, far)
            back = fabric.route(far, near)
            if route is None or back is None:
                return NO_PATHS
            delays.append(route.delay_ns)
            delays_back.append(back.delay_ns)
            lossy = lossy or route.is_rough or back.is_rough
        costs = [self._packet_cost_ns(connection, host) for host in hosts]
        proxy_ns = 0
        for host, cost_ns in zip(hosts, costs, strict=True):
            if host.is_node:
                proxy_ns += 2 * (cost_ns - host.charges.forward_ns)
        client, server = client_host.charges, server_host.charges
        if connection.is_tcp:
            client_send_ns, server_receive_ns = client.client_send_ns, server.server_receive_ns
            server_send_ns, client_receive_ns = server.server_send_ns, client.client_receive_ns
        else:
            client_send_ns, server_receive_ns = client.udp_send_ns, server.udp_receive_ns
            server_send_ns, client_receive_ns = server.udp_send_ns, client.udp_receive_ns
        queue = connection.queue & 63
        last = len(hosts) - 1
        forward: list[Station] = []
        backward: list[Station] = []
        for i, host in enumerate(hosts):
            delay_ns = delays[i] if i < last else server_receive_ns
            if i == 0:
                delay_ns += client_send_ns
            step = self._there if i < last else self.at_server
            forward.append((host.queues, queue % len(host.queues), costs[i], delay_ns, step))
        for i in range(last, -1, -1):
            host = hosts[i]
            delay_ns = delays_back[i - 1] if i > 0 else client_receive_ns
            if i == last:
                delay_ns += server_send_ns
            backward.append((host.queues, (queue + 1) % len(host.queues), costs[i], delay_ns, self._back))
        first, first_back = forward, backward
        if connection.is_tcp and server.accept_ns:
            free, place, cost_ns, delay_ns, _ = forward[-1]
            first = [*forward[:-1], (free, place, cost_ns, delay_ns + server.accept_ns, self._first_at_server)]
        elif not connection.is_tcp and server.fresh_udp_reply_ns:
            free, place, cost_ns, delay_ns, step = backward[0]
            first_back = [(free, place, cost_ns, delay_ns + server.fresh_udp_reply_ns, step), *backward[1:]]
        return Paths(tuple(forward), tuple(backward), lossy, proxy_ns, tuple(first), tuple(first_back))

    def hosts_of(self, connection: Connection) -> list[Host]:
        """The hosts that the connection's packets cross, from the client's to the server's."""
        hosts: list[Host] = [connection.namespace.host]
        if connection.entry_host is not hosts[-1]:
            hosts.append(connection.entry_host)
        if connection.server_host is not hosts[-1]:
            hosts.append(connection.server_host)
        return hosts

    def link_back(self, connection: Connection) -> tuple[Host, Host]:
        """The two hosts between which a small packet on its way back travels after its `position`-th station."""
        hosts = self.hosts_of(connection)
        near = len(hosts) - connection.position
        return hosts[near], hosts[near - 1]

    def revalidate(self, connection: Connection) -> bool:
        """Look at the path again after a change of the network; False while nothing gets through."""
        now = self._environment._now
        entry = connection.near_entry
        if entry is not None and entry.expires_ns <= now:
            return False
        # Conntrack picks a flow up in its middle (nf_conntrack_tcp_loose), which does where nothing is translated.
        entry = connection.far_entry
        if entry is not None and entry.expires_ns <= now:
            connection.far_entry = None
        found = self.build_paths(connection)
        if isinstance(connection, MultiplexedConnection) and connection.gaps:
            connection.lossy = True
        return found

    def _packet_cost_ns(self, connection: Connection, host: Host) -> int:
        if not host.is_node:
            return 0
        charges = host.charges
        if not connection.rewritten or host is not connection.entry_host:
            return charges.plain_packet_ns
        if connection.source != connection.client_address:
            return charges.nat_packet_ns + charges.masquerade_packet_ns
        return charges.nat_packet_ns

    def return_delay_ns(self, connection: Connection) -> int:
        """How long a small packet takes from the server's socket to the client's, queues left out."""
        return sum(station[2] + station[3] for station in connection.backward)

    def delay_ns(self, connection: Connection, *, forward: bool) -> int:
        """How long a small packet takes from one end's socket to the other's, queues left out."""
        stations = connection.forward if forward else connection.backward
        return sum(station[2] + station[3] for station in stations)

    def round_trip_ns(self, connection: Connection) -> int:
        """How long a small packet takes to the server's socket and its answer back, queues left out."""
        return self.return_delay_ns(connection) + sum(station[2] + station[3] for station in connection.paths.forward)

    def _charge_size(self, request: Request, size_bytes: int) -> int:
        """Charge a node's CPU for the units of a message, and return how long copying takes."""
        charges = request.connection.entry_host.charges
        units = -(-size_bytes // charges.unit_bytes)
        request.extra_ns = (units - 1) * charges.extra_unit_ns
        return charges.copied_ns(size_bytes)
