"""Traffic: who sends, where to, how often, over which connections, and what a client does when it fails.

All but `to` has a default, and `to` as well if there is just one Service: 100 requests a second (Poisson) from one client pod
a node (three at most), kept-alive connections, 5 s time-out, no retries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from svcsim.scenario.address import Destination, DestinationUrl, ViaUrl
from svcsim.scenario.arrivals import Arrivals
from svcsim.scenario.balancing import Balancing, OutlierDetection
from svcsim.scenario.connections import Connections
from svcsim.scenario.distribution import SizeDistribution
from svcsim.scenario.quantities import Duration, Family, Labels, Name, Part, PositiveDuration
from svcsim.scenario.resolving import ClientResolver, Resolve, ResolveText
from svcsim.scenario.retries import Hedging, Retries
from svcsim.spelling import nearest
from svcsim.units import S
from svcsim.validation import plain_kind

DEFAULT_RATE_PER_S = 100.0


class From(Part):
    """Who sends: exactly one of these; a bare string is a target, as `deployment/client`, `node/worker-1`, `outside/laptop`."""

    deployment: str | None = None
    daemonset: str | None = None
    statefulset: str | None = None
    pod: str | None = None
    node: str | None = None
    """A node's name; `*` for all."""
    outside: str | None = None
    """A host under `cluster.outside`; `*` for all."""
    labels: Labels | None = None
    """Pods with these labels."""
    clients: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """So many client pods that svcsim adds, spread over the nodes."""
    namespace: Name = "default"

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            kind, slash, name = value.partition("/")
            if not slash:
                raise ValueError(f"who sends is written as 'deployment/client', not {plain_kind(value)}")
            if kind not in _FROM_KINDS:
                raise ValueError(f"{plain_kind(kind)} can't send{nearest(kind, _FROM_KINDS)}")
            namespace, slash, inner = name.partition("/")
            return {kind: inner, "namespace": namespace} if slash else {kind: name}
        return value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        given = [kind for kind in (*_FROM_KINDS, "labels", "clients") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(_FROM_KINDS)}, labels, clients" + _got(given))
        return self


_FROM_KINDS = ("deployment", "daemonset", "statefulset", "pod", "node", "outside")


def _got(given: list[str]) -> str:
    return f" (got {', '.join(given)})" if given else ""


class Workload(Part):
    """One stream of requests."""

    name: Name = ""
    """Default: `load`, or `load-2` and so on."""
    from_: From | None = Field(default=None, alias="from")
    """Default: client pods that svcsim adds, one a node and three at most."""
    to: DestinationUrl | None = None
    """Default: the first port of the only Service."""
    via: ViaUrl | None = None
    """Where the connection is made instead, as curl's --connect-to: another URL, or `ingress` for the address that the Ingress of
    this host shows; the request still says host and path of `to`. Default: `ingress` for a host that only an Ingress has."""
    arrivals: Arrivals = Arrivals(poisson_per_s=DEFAULT_RATE_PER_S)
    connections: Connections = Connections()
    request: SizeDistribution = SizeDistribution(constant_bytes=200)
    """Size of a request."""
    response: SizeDistribution = SizeDistribution(constant_bytes=1024)
    """Size of an answer."""
    timeout_ns: PositiveDuration = 5 * S
    """From the send until the answer is complete, of each attempt."""
    connect_timeout_ns: PositiveDuration | None = None
    """Of the connection alone; default: `timeout`."""
    retries: Retries = Retries()
    hedging: Hedging | None = None
    """Default: a second attempt is made only when the first has failed."""
    resolve: ResolveText = Resolve(policy="interval")
    resolver: ClientResolver = ClientResolver()
    """The stub resolver that the clients' programs use."""
    family: Family | None = None
    """The only family that clients use; default: what the name has, in the order that the C library gives (RFC 6724)."""
    balancing: Balancing | None = None
    """How a client itself chooses among all addresses of the name, as for a headless Service; default: it takes one and stays."""
    outlier_detection: OutlierDetection | None = None
    """When a client that balances leaves an address out for a while; default: never for what it answers."""
    start_ns: Duration = 0
    """When the workload begins."""
    stop_ns: PositiveDuration | None = None
    """When it ends; default: with the run."""

    @property
    def longest_ns(self) -> int:
        """The longest that the attempts of a request and the waits between them may take."""
        retries = self.retries
        return retries.attempts * (self.timeout_ns + max(retries.backoff.base_ns, retries.backoff.max_ns))

    @property
    def target(self) -> Destination | None:
        """Where connections are made: `via` if it is given, else `to`."""
        via, to = self.via, self.to
        if via is None or to is None:
            return to
        return replace(via, host=to.host, port=to.port) if via.is_ingress else via

    @model_validator(mode="after")
    def _through_http(self) -> Self:
        if self.via is not None and self.to is not None and self.to.scheme not in {"http", "https"}:
            raise ValueError(f"'via' is for requests with a host and a path, and {self.to.scheme}:// has none")
        if self.via is not None and self.via.protocol != "TCP":
            raise ValueError("HTTP goes over TCP: 'via' is no UDP destination")
        return self

    @model_validator(mode="after")
    def _over_streams(self) -> Self:
        if self.connections.multiplexed is not None and self.to is not None and self.to.protocol != "TCP":
            raise ValueError("a multiplexed connection is TCP's: there is none to a UDP destination")
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.stop_ns is not None and self.stop_ns <= self.start_ns:
            raise ValueError("'stop' is later than 'start'")
        if self.balancing is not None and self.resolve.policy not in {"interval", "once"}:
            raise ValueError("a client that balances keeps the addresses of a name: resolve is interval(30s) or once")
        if self.outlier_detection is not None and self.balancing is None:
            raise ValueError("'outlierDetection' is for clients that choose among addresses: give 'balancing' as well")
        return self
