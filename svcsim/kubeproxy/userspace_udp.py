"""UDP through the userspace proxy: one socket to an endpoint for each client address, dropped after 250 ms without traffic.

Source: pkg/proxy/userspace/proxysocket.go, udpProxySocket (kubernetes 1.17); the idle time is `udpIdleTimeout`.
"""

from __future__ import annotations

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.host import SynAnswer
from svcsim.engine.streams import splitmix64
from svcsim.kubeproxy.userspace_proxy import PickEndpoint, ProxyProcess, pass_back
from svcsim.linux.packet import UDP
from svcsim.results.records import Flag, Outcome

_UNREACHED = int(Flag.UNREACHED)


class _ClientSocket:
    """The proxy's socket on behalf of one client address and port."""

    __slots__ = ("back", "last_ns")

    def __init__(self, back: Connection, now_ns: int) -> None:
        self.back = back
        self.last_ns = now_ns


class UdpProxyPort:
    """The UDP port that the proxy opened for a Service's port: `Listener` for clients, `Client` towards endpoints."""

    __slots__ = ("endpoint", "pick", "process", "sockets")

    def __init__(self, process: ProxyProcess, pick: PickEndpoint) -> None:
        self.process = process
        self.pick = pick
        self.endpoint = -1
        self.sockets: dict[Connection, _ClientSocket] = {}

    def syn(self, connection: Connection, now_ns: int) -> SynAnswer:
        """UDP has no SYN."""
        return SynAnswer.REFUSE

    def connected(self, connection: Connection, now_ns: int = 0) -> None:
        """A client's flow leads here from now on."""

    def disconnected(self, connection: Connection, now_ns: int = 0) -> None:
        """The client closed its socket."""
        socket = self.sockets.pop(connection, None)
        if socket is not None:
            self.process.network.datagrams.close(socket.back)

    def arrive(self, request: Request, now_ns: int) -> None:
        """A datagram came in: copy it to the endpoint of this client."""
        process = self.process
        front = request.connection
        if not process.running:
            process.network.exchanges.answer_reset(request)
            return
        socket = self.sockets.get(front)
        if socket is not None and now_ns - socket.last_ns > process.timeouts.udp_idle_ns:
            process.network.datagrams.close(socket.back)
            socket = None
        if socket is None:
            socket = self._dial(front, now_ns)
            if socket is None:
                return
            self.sockets[front] = socket
        socket.last_ns = now_ns
        back = socket.back
        ready_ns = process.work(process.copy_ns(request.request_bytes), now_ns)
        process.network.fabric.later(ready_ns - now_ns, lambda: self._send(request, back))

    def _dial(self, front: Connection, now_ns: int) -> _ClientSocket | None:
        chosen = self.pick(front.client_address, False)
        if chosen is None:
            return None
        process = self.process
        address, port = chosen
        local_port, pool = process.local_port(address, port, now_ns)
        if not local_port:
            return None
        process.dialed += 1
        front.ordinal += 1
        key = splitmix64(front.key ^ front.ordinal)
        back = Connection(self, process.host.namespace, local_port, address, port, UDP, key, front.pick_uniform)
        back.port_pool = pool
        process.network.fabric.not_reached(front, back)
        return _ClientSocket(back, now_ns)

    def _send(self, request: Request, back: Connection) -> None:
        if back.client is None or not self.process.running:
            return
        now = self.process.network.fabric.clock.now
        inner = Request(
            self, request.sequence, now, request.request_bytes, request.answer_bytes, request.service_uniform,
            request.pick_uniform,
        )
        inner.payload = request.payload
        inner.outer = request
        inner.connection = back
        if request.live:
            request.request_ns += now - request.mark_ns
            request.mark_ns = now
        self.process.network.datagrams.send(inner)

    def answered(self, request: Request, finish_ns: int) -> None:
        """The endpoint's datagram is with the proxy: copy it to the client."""
        process = self.process
        back = request.connection
        process.network.datagrams.answered(back)
        ready_ns = process.work(process.copy_ns(request.answer_bytes), finish_ns)
        front = request.outer.connection if request.outer is not None else None
        if front is None:
            return
        front.endpoint = back.endpoint
        front.endpoint_host = back.server_host
        front.flags &= ~_UNREACHED
        fabric = process.network.fabric
        fabric.later(ready_ns - fabric.clock.now, lambda: pass_back(request, finish_ns, process))

    def failed(self, request: Request, outcome: Outcome, now_ns: int) -> None:
        """ICMP told the proxy that nobody listens; the proxy drops its socket, the client learns nothing."""
        for front, socket in list(self.sockets.items()):
            if socket.back is request.connection:
                del self.sockets[front]
                self.process.network.datagrams.close(socket.back)

    def connect_failed(self, connection: Connection, outcome: Outcome, now_ns: int) -> None:
        """UDP does not connect."""

    def close(self) -> None:
        """The Service port is gone: so is the socket that answers would leave by."""
        self.stop()

    def stop(self) -> None:
        """The process exits."""
        sockets, self.sockets = self.sockets, {}
        for socket in sockets.values():
            self.process.network.datagrams.close(socket.back)
