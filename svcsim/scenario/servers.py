"""How pods serve: service time, workers, queue, and what they do when told to stop."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from svcsim.scenario.distribution import TimeDistribution
from svcsim.scenario.ingress import DEFAULT_SERVING, IngressController
from svcsim.scenario.quantities import Count, Labels, Name, Part, PositiveCount, spelling
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

    ingress: IngressController | None = None
    """These pods are an ingress controller, which passes requests on by host and path; a bare text is its class."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_proxy(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("ingress") is None:
            return data
        given = {spelling(str(key)) for key in data}
        return {**data, **{key: value for key, value in DEFAULT_SERVING.items() if key not in given}}

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.ingress is not None and not self.match:
            raise ValueError("an ingress controller's pods are told by their labels: give 'match'")
        return self

    def matches(self, namespace: str, labels: dict[str, str]) -> bool:
        """Whether a pod is meant."""
        if self.namespace is not None and namespace != self.namespace:
            return False
        return all(labels.get(key) == value for key, value in self.match.items())
