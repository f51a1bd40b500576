"""How pods serve: service time, workers, queue, and what they do when told to stop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from svcsim.scenario.distribution import TimeDistribution
from svcsim.scenario.quantities import Count, Labels, Name, Part, PositiveCount
from svcsim.units import MS


class Serving(Part):
    """What a server does with a request. As it stands: 16 workers, exponential service times of 2 ms."""

    service_time: TimeDistribution = TimeDistribution(exponential_ns=2 * MS)
    workers: PositiveCount = 16
    """Requests that are worked on at once."""
    queue_limit: Count | None = None
    """Requests that may wait for a worker; one more is answered «busy» at once. Default: no limit."""
    backlog: PositiveCount = 4096
    """Connections that a process which does not accept may leave to the kernel (net.core.somaxconn)."""


class Servers(Serving):
    """How the pods with these labels serve; the first entry that matches a pod is its."""

    match: Labels = Field(default_factory=dict)
    """Labels of the pods; empty: all pods."""
    namespace: Name | None = None
    """Only pods of this namespace."""
    probes: Literal["shared", "separate"] = "shared"
    """Whether probes wait in the same queue as requests, or are answered by a worker of their own."""
    drain: Literal["finish", "exit", "ignore"] = "finish"
    """At SIGTERM: stop accepting and finish what is under way; exit at once; or take no notice until SIGKILL."""

    def matches(self, namespace: str, labels: dict[str, str]) -> bool:
        """Whether a pod is meant."""
        if self.namespace is not None and namespace != self.namespace:
            return False
        return all(labels.get(key) == value for key, value in self.match.items())
