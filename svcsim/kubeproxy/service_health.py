"""The HTTP servers of kube-proxy: one for each Service with a health check node port, and its own healthz.

A balancer asks `http://node:healthCheckNodePort/healthz` of a Service with `externalTrafficPolicy: Local`. The answer is 200 if
the node has a ready endpoint of that Service, else 503, by the state of kube-proxy's last sync; its body says how many endpoints
there are. Of a Service with policy Cluster it asks `http://node:10256/healthz`, which answers as long as kube-proxy is at work.

Sources: pkg/proxy/healthcheck/{service_health,proxy_health}.go (kubernetes 1.30), cmd/kube-proxy/app/server.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.exchange import Exchanges
from svcsim.datapath.host import Host, SynAnswer
from svcsim.linux.packet import TCP
from svcsim.results.records import Outcome

HEALTHZ_PORT = 10256
"""`--healthz-bind-address` (pkg/cluster/ports/ports.go, ProxyHealthzPort)."""
OK, UNAVAILABLE = 200, 503


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """What the server of a Service's health check node port says."""

    status: int
    body: str


def health_answer(service_key: str, local_endpoints: int, *, proxy_healthy: bool = True) -> HealthAnswer:
    """The answer about a Service (`namespace/name`) with so many ready endpoints on the node.

    >>> health_answer("default/web", 2).status, health_answer("default/web", 0).status
    (200, 503)
    """
    namespace, _, name = service_key.partition("/")
    body = {
        "service": {"namespace": namespace, "name": name}, "localEndpoints": local_endpoints,
        "serviceProxyHealthy": proxy_healthy,
    }
    return HealthAnswer(OK if local_endpoints and proxy_healthy else UNAVAILABLE, json.dumps(body))


class _Port:
    """An HTTP server that answers at once; implements `svcsim.datapath.host.Listener`."""

    __slots__ = ("_exchanges", "endpoint", "status")

    def __init__(self, exchanges: Exchanges, status: int) -> None:
        self._exchanges = exchanges
        self.endpoint = -1
        self.status = status

    def syn(self, connection: Connection, now_ns: int) -> SynAnswer:
        """It always accepts."""
        return SynAnswer.ACCEPT

    def connected(self, connection: Connection) -> None:
        """Nothing is kept of a connection."""

    def disconnected(self, connection: Connection) -> None:
        """Nothing was kept of it."""

    def arrive(self, request: Request, now_ns: int) -> None:
        """Answer; 503 is an error."""
        request.status = Outcome.OK if self.status == OK else Outcome.SERVER_BUSY
        self._exchanges.respond(request)


class HealthServer:
    """All of these servers on one node."""

    __slots__ = ("_exchanges", "_host", "_ports")

    def __init__(self, host: Host, exchanges: Exchanges) -> None:
        self._host = host
        self._exchanges = exchanges
        self._ports: dict[int, _Port] = {}

    def update(self, node_ports: Mapping[str, int], local_endpoints: Mapping[str, int]) -> None:
        """A sync has ended: serve these health check node ports, by `namespace/name`, and answer by these counts."""
        wanted = {HEALTHZ_PORT: OK}
        for key, port in node_ports.items():
            wanted[port] = health_answer(key, local_endpoints.get(key, 0)).status
        for port in [port for port in self._ports if port not in wanted]:
            self._close(port)
        for port, status in wanted.items():
            known = self._ports.get(port)
            if known is None:
                known = self._ports[port] = _Port(self._exchanges, status)
                self._host.namespace.listeners[(TCP, port)] = known
            known.status = status

    def stop(self) -> None:
        """kube-proxy has ended: nobody listens any more."""
        for port in list(self._ports):
            self._close(port)

    def _close(self, port: int) -> None:
        listener = self._ports.pop(port)
        if self._host.namespace.listeners.get((TCP, port)) is listener:
            del self._host.namespace.listeners[(TCP, port)]
