"""Pods that are an ingress controller: its class, its flags, and how it treats upstreams; defaults are those of ingress-nginx.

Sources: kubernetes/ingress-nginx pkg/flags/flags.go; docs/user-guide/nginx-configuration/configmap.md and annotations.md;
internal/ingress/status/status.go (UpdateInterval); rootfs/etc/nginx/lua/balancer.lua (BACKENDS_SYNC_INTERVAL).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from svcsim.kube.api.ingress import Ingress
from svcsim.kube.ingress_rules import host_matches
from svcsim.scenario.quantities import Count, Duration, Name, Part, Period, PositiveCount, PositiveDuration, Rate
from svcsim.units import MS, S

DEFAULT_SERVING: dict[str, Any] = {"serviceTime": "100us", "workers": 4}
"""How a controller's pod serves where its entry does not say. Assumed: a core passes some ten thousand requests a second on."""


def _off(value: object) -> object:
    return [] if value in ("off", False) else [value] if isinstance(value, str) else value


def _written(value: tuple[str, ...]) -> object:
    return list(value) or "off"


NextUpstream = Annotated[
    tuple[Literal["error", "timeout", "http_503"], ...], BeforeValidator(_off), PlainSerializer(_written),
    WithJsonSchema({"anyOf": [
        {"enum": ["off", "error", "timeout", "http_503", False]},
        {"type": "array", "items": {"enum": ["error", "timeout", "http_503"]}},
    ]}),
]
"""Failures after which a proxy tries the next endpoint."""


def names_an_ingress(host: str, objects: Iterable[object]) -> bool:
    """Whether a rule of an Ingress among these objects is for this host."""
    return any(
        rule.host and host_matches(rule.host, host) for obj in objects if isinstance(obj, Ingress) for rule in obj.spec.rules
    )


class IngressController(Part):
    """An ingress controller."""

    class_: Name = Field(default="nginx", alias="class")
    """Its class, as the annotation `kubernetes.io/ingress.class` names it."""
    controller: str = "k8s.io/ingress-nginx"
    """What `spec.controller` of its IngressClass says."""
    watch_ingress_without_class: bool = False
    publish_service: str | None = None
    """The Service (`namespace/name`) whose address Ingresses show; default: the one before the pods, a LoadBalancer first."""
    connect_timeout_ns: PositiveDuration = 5 * S
    """proxy-connect-timeout: until an endpoint has accepted."""
    read_timeout_ns: PositiveDuration = 60 * S
    """proxy-read-timeout: until it has answered."""
    next_upstream: NextUpstream = ("error", "timeout")
    """proxy-next-upstream: failures after which the next endpoint is tried; `off` for none."""
    next_upstream_tries: PositiveCount = 3
    """proxy-next-upstream-tries: endpoints tried at most."""
    next_upstream_timeout_ns: Duration = 0
    """proxy-next-upstream-timeout: so long after the first try others begin; 0: always."""
    load_balance: Literal["round_robin", "ewma"] = "round_robin"
    """load-balance: which endpoint has the next request."""
    keepalive_connections: Count = 320
    """upstream-keepalive-connections: idle connections that are kept at most; 0 opens one a request."""
    keepalive_timeout_ns: PositiveDuration = 60 * S
    """upstream-keepalive-timeout: how long."""
    keepalive_requests: PositiveCount = 10_000
    """upstream-keepalive-requests: requests on one connection at most."""
    sync_rate_limit_per_s: Rate = 0.3
    """--sync-rate-limit: so often changes are looked at, at most."""
    backends_sync_interval_ns: Period = 1 * S
    """How often its workers look for other endpoints."""
    reload_ns: Duration = 200 * MS
    """How long a reload takes, for other rules. Assumed."""
    status_update_interval_ns: Period = 60 * S
    """How often addresses are written into the status of Ingresses."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"class": value} if isinstance(value, str) else value
