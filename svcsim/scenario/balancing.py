"""How a client itself chooses among all addresses of a name; policies are called as gRPC's and Envoy's are."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from svcsim.kube.api.service import Service
from svcsim.scenario.address import Destination
from svcsim.scenario.quantities import Count, Part, Period, PositiveCount, PositiveDuration, Share
from svcsim.units import S

MAX_CHOICES = 10
"""More are not compared (gRPC A48)."""


class Balancing(Part):
    """A policy; a bare name is one with its defaults."""

    policy: Literal["pick_first", "round_robin", "random", "least_request"]
    """Which address: the first, the next, any, or of a few the one with the fewest requests of this client."""
    choice_count: Annotated[int, Field(ge=2, le=MAX_CHOICES)] = 2
    """So many addresses, drawn at random, does `least_request` compare."""
    selection_method: Literal["N_CHOICES", "FULL_SCAN"] = "N_CHOICES"
    """Whether `least_request` compares so many, or all."""

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"policy": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _of_its_policy(self) -> Self:
        given = self.model_fields_set
        if self.policy != "least_request" and given & {"choice_count", "selection_method"}:
            raise ValueError(f"'choiceCount' and 'selectionMethod' are for least_request, not for {self.policy}")
        if self.selection_method == "FULL_SCAN" and "choice_count" in given:
            raise ValueError("FULL_SCAN compares all addresses: leave 'choiceCount' out")
        return self

    @model_serializer
    def _written(self) -> str | dict[str, Any]:
        given: dict[str, Any] = {}
        if self.selection_method != "N_CHOICES":
            given["selectionMethod"] = self.selection_method
        elif self.choice_count != 2:
            given["choiceCount"] = self.choice_count
        return {"policy": self.policy, **given} if given else self.policy


class FailurePercentage(Part):
    """Eject an address of whose requests too many fail."""

    threshold: Share = 0.85
    """More than this share."""
    minimum_hosts: Count = 5
    """With fewer addresses that are judged none is ejected."""
    request_volume: PositiveCount = 50
    """With fewer requests in an interval an address is not judged."""


class SuccessRate(Part):
    """Eject an address that succeeds less often than the others."""

    stdev_factor: Annotated[float, Field(ge=0, le=100)] = 1.9
    """So many standard deviations below the mean."""
    minimum_hosts: Count = 5
    """With fewer addresses that are judged none is ejected."""
    request_volume: PositiveCount = 100
    """With fewer requests in an interval an address is not judged."""


class OutlierDetection(Part):
    """When a client leaves an address out for a while, as gRPC's outlier_detection."""

    interval_ns: Period = 10 * S
    """How often a client looks at what it counted."""
    base_ejection_time_ns: PositiveDuration = 30 * S
    """How long an address is left out, times how often it was."""
    max_ejection_time_ns: PositiveDuration = 300 * S
    """How long at most."""
    max_ejection_percent: Share = 0.1
    """So many addresses at a time at most, and one in any case."""
    failure_percentage: FailurePercentage | None = None
    success_rate: SuccessRate | None = None

    @model_validator(mode="after")
    def _by_something(self) -> Self:
        if self.failure_percentage is None and self.success_rate is None:
            raise ValueError("give 'failurePercentage', 'successRate' or both: without them no address is ever left out")
        return self


def why_one_address(to: Destination, service: Service | None) -> str:
    """Why a client that balances has nothing to choose from; empty where it may have, or nobody knows."""
    if to.is_node_port or to.is_address or to.is_variable:
        return f"{to} is one address"
    if service is None or service.spec.is_headless or service.spec.type == "ExternalName":
        return ""
    name = service.metadata.name
    return f"Service {name} has one address, its cluster IP; a headless one (clusterIP: None) has one for each pod"
