"""A pod of an ingress controller as a server: each request costs it CPU, then goes to an upstream by its host and path.

The worker is free again while the upstream works, as a process that waits for events is. Streams that share a connection are
requests like others: each goes to an upstream of its own, over a connection that carries nothing else. Probes are answered by the
controller itself. What no rule is for is answered 404, a rule whose Service has no ready endpoint 503. Host and path are those of
the workload that sends, however many balancers and proxies its connection has come through.

Source: kubernetes/ingress-nginx, docs/how-it-works.md and rootfs/etc/nginx/template/nginx.tmpl; nginx's worker processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.host import Namespace
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.datapath.network import Network
from svcsim.engine.streams import Stream, stream_seed
from svcsim.kube.controllers.ingress import Backends
from svcsim.kube.ingress_annotations import AS_CONTROLLER, Hashed, Treatment
from svcsim.kube.ingress_rules import IngressRules, Route
from svcsim.results.records import Flag, Outcome
from svcsim.workload.distributions import Quantile
from svcsim.workload.server import Server, ServerProfile, State
from svcsim.workload.upstreams import Exchange, Upstreams, UpstreamSettings
from svcsim.workload.workload import Workload

ERROR_BYTES = 300
"""About what nginx's own error page takes with its head (ngx_http_special_response.c)."""
_OK = Outcome.OK
_UNREACHED = int(Flag.UNREACHED)
_HUNG, _STOPPED = State.HUNG, State.STOPPED


@dataclass(frozen=True, slots=True)
class _Way:
    """What becomes of the requests for a host and path: their backends, and the settings that hold for them."""

    target: tuple[str, str]
    route: Route
    settings: UpstreamSettings


class IngressServer(Server):
    """The process of one controller pod."""

    __slots__ = ("_canaries", "_exchanges_of", "_hashes", "_routes", "_rules", "_settings", "_upstreams", "on_stop")

    def __init__(
        self, profile: ServerProfile, namespace: Namespace, endpoint: int, network: Network, settings: UpstreamSettings, seed: int
    ) -> None:
        own = replace(profile, service_time=_of_another_draw(profile.service_time))
        super().__init__(own, namespace, endpoint, network.exchanges, network.handshakes)
        self._upstreams = Upstreams(network, namespace, settings, seed, self._ended, self._is_awake)
        self._settings = settings
        self._rules = IngressRules(())
        self._routes: dict[tuple[str, str], _Way | None] = {}
        self._canaries = Stream(seed, f"ingress/canary/{namespace.name}")
        self._hashes: dict[str, int] = {}
        self._exchanges_of: dict[Connection | Request, Exchange] = {}
        self.on_stop: Callable[[], None] | None = None

    def _is_awake(self) -> bool:
        return self.state is not _HUNG

    # ---- what the controller sets ------------------------------------------------------------------------------------

    def reload(self, rules: IngressRules, backends: Backends) -> None:
        """New workers with other rules: idle connections of the old ones end, on both sides."""
        self._rules = rules
        self._routes = {}
        self._upstreams.set_endpoints(backends)
        self._upstreams.close_idle()
        for connection in list(self.connections):
            if isinstance(connection, MultiplexedConnection):
                self._exchanges.send_go_away(connection)
            elif connection.request is None:
                self._close(connection)

    def set_backends(self, rules: IngressRules, backends: Backends) -> None:
        """Other endpoints and weights, for requests from now on."""
        if rules is not self._rules:
            self._rules = rules
            self._routes = {}
        self._upstreams.set_endpoints(backends)

    # ---- a request ---------------------------------------------------------------------------------------------------

    def arrive(self, request: Request, now_ns: int) -> None:
        """A request came in; it has got no further than here."""
        connection = request.connection
        connection.endpoint, connection.endpoint_host = self.endpoint, None
        connection.flags &= ~_UNREACHED
        if isinstance(connection, MultiplexedConnection):
            connection.on_give_up = self._give_up
            connection.note(request)
        super().arrive(request, now_ns)

    def _answer_now(self, request: Request) -> None:
        if request.live:
            now = self._environment._now
            request.service_ns += now - request.mark_ns
            request.mark_ns = now
        connection = request.connection
        if request.is_probe:
            self._respond(request)
            return
        if not connection.open:
            return
        way = self._way(request)
        if way is None:
            self._refuse(request, Outcome.NOT_FOUND)
        elif not self._upstreams.has_endpoints(way.route.backend):
            self._refuse(request, Outcome.SERVICE_UNAVAILABLE)
        else:
            exchange = self._exchanges_of[_place(request, connection)] = Exchange(request, way.route.backend, way.settings)
            canary = way.route.canary
            if canary is not None and self._upstreams.has_endpoints(canary.backend):
                if self._canaries.uniform(exchange.key) * canary.total < canary.weight:
                    exchange.backend = canary.backend
            if exchange.backend.hashed_by:
                exchange.hashed = self._hash(exchange.backend.hashed_by, way.target, connection.source)
            self._upstreams.begin(exchange)

    def _hash(self, hashed_by: Hashed, target: tuple[str, str], address: int) -> int:
        """64 bits for what a backend is hashed by (lua/util.lua, generate_var_value)."""
        text = "".join(_value(part, literal, target, address) for part, literal in hashed_by)
        found = self._hashes.get(text)
        if found is None:
            found = self._hashes[text] = stream_seed(0, text)
        return found

    def _way(self, request: Request) -> _Way | None:
        first = request
        while first.outer is not None:
            first = first.outer
        client = first.client
        target = client.settings.http if isinstance(client, Workload) else ("", "/")
        try:
            return self._routes[target]
        except KeyError:
            route = self._rules.route(*target)
            way = self._routes[target] = None if route is None else _Way(target, route, _treated(self._settings, route.treatment))
            return way

    def _ended(self, exchange: Exchange, outcome: Outcome) -> None:
        self._exchanges_of.pop(_place(exchange.outer, exchange.front), None)
        if outcome is _OK:
            self._respond(exchange.outer)
        else:
            self._refuse(exchange.outer, outcome)

    def _refuse(self, request: Request, outcome: Outcome) -> None:
        request.status = outcome
        request.answer_bytes = ERROR_BYTES
        self._respond(request)

    def disconnected(self, connection: Connection) -> None:
        """The client closed, or was reset: what is done for it is given up."""
        if isinstance(connection, MultiplexedConnection):
            for exchange in [each for each in self._exchanges_of.values() if each.front is connection]:
                self._give_up(exchange.outer)
        else:
            self._give_up(connection)
        super().disconnected(connection)

    def _give_up(self, place: Connection | Request) -> None:
        exchange = self._exchanges_of.pop(place, None)
        if exchange is not None:
            self._upstreams.abort(exchange)

    # ---- what goes wrong ---------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """The process goes on where it stood, with what its upstreams sent meanwhile."""
        super().resume()
        if self.state is not _HUNG:
            self._upstreams.wake()

    def kill(self) -> None:
        """The process is gone, and its kernel closes its connections on both sides."""
        self._gone(silently=False)
        super().kill()

    def power_off(self) -> None:
        """The node lost power: nobody is told, neither clients nor upstreams."""
        self._gone(silently=True)
        super().power_off()

    def _gone(self, *, silently: bool) -> None:
        if self.state is _STOPPED:
            return
        self._exchanges_of.clear()
        self._upstreams.stop(silently=silently)
        if self.on_stop is not None:
            stopped, self.on_stop = self.on_stop, None
            stopped()


def _place(request: Request, connection: Connection) -> Connection | Request:
    """What names a request's exchange: its connection, which carries one at a time, unless many share it."""
    return request if isinstance(connection, MultiplexedConnection) else connection


def _treated(settings: UpstreamSettings, treatment: Treatment) -> UpstreamSettings:
    """A controller's settings with those of an Ingress in their place."""
    if treatment is AS_CONTROLLER or treatment == AS_CONTROLLER:
        return settings
    given = {
        "connect_timeout_ns": treatment.connect_timeout_ns, "read_timeout_ns": treatment.read_timeout_ns,
        "next_on": treatment.next_on, "tries": treatment.tries, "next_timeout_ns": treatment.next_timeout_ns,
    }
    return replace(settings, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def _value(part: str, literal: str, target: tuple[str, str], address: int) -> str:
    host, uri = target
    path, _, query = uri.partition("?")
    return {"text": literal, "address": str(address), "host": host, "path": path, "query": query, "uri": uri}[part]


def _of_another_draw(service_time: Quantile) -> Quantile:
    """The same distribution, at another point of it than the endpoint's service time of the same request."""
    return lambda uniform: service_time((uniform * 8191.0 + 0.382) % 1.0)
