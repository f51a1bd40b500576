"""The cloud provider of a cluster: the balancers that Services of type LoadBalancer get."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import model_validator

from svcsim.scenario.quantities import Cidrs, Duration, Family, Part, Period, PositiveCount, PositiveDuration
from svcsim.units import S

DEFAULT_ADDRESSES: dict[Family, str] = {"IPv4": "198.51.100.0/24", "IPv6": "2001:db8:51::/120"}


class BalancerHealthCheck(Part):
    """How a balancer finds out which nodes are able; the defaults are those of Google Cloud's provider.

    Source: k8s.io/legacy-cloud-providers gce/gce_loadbalancer_external.go (gceHcCheckIntervalSeconds and the lines after it).
    """

    interval_ns: Period = 8 * S
    timeout_ns: PositiveDuration = 1 * S
    healthy_threshold: PositiveCount = 1
    unhealthy_threshold: PositiveCount = 3
    port: Literal["healthz", "nodePort"] = "healthz"
    """What is asked of a Service with `externalTrafficPolicy: Cluster`; with `Local` it is always its health check node port."""

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.timeout_ns > self.interval_ns:
            raise ValueError("a health check's 'timeout' is at most its 'interval'")
        return self


class Cloud(Part):
    """A provider and its balancers; a bare `none` is a cluster without one, whose balancers stay pending."""

    provider: Literal["external", "none"] = "external"
    """Who makes balancers: a cloud controller manager beside the cluster, or nobody."""
    ip_mode: Literal["VIP", "Proxy"] = "VIP"
    """Packets reach the node with the balancer's address, or the balancer connects to a node port itself."""
    addresses: Cidrs = (DEFAULT_ADDRESSES["IPv4"],)
    """Balancers get addresses of this block, from the second on; the first is that of their health checks. Default: a block of
    each family that Services have."""
    provisioning_ns: Duration = 30 * S
    """From the call that makes a balancer until it has its address."""
    update_ns: Duration = 5 * S
    """The same for a change of its nodes, or its removal."""
    rtt_ns: Duration = 500_000
    """Between balancer and nodes, where the balancer itself sends: its connections (mode Proxy) and health checks."""
    concurrent_service_syncs: PositiveCount = 1
    """Services that the controller works on at once."""
    fail_open: bool = False
    """Whether all nodes take traffic while none is healthy; otherwise new connections are dropped."""
    health_check: BalancerHealthCheck = BalancerHealthCheck()

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"provider": value} if isinstance(value, str) else value
