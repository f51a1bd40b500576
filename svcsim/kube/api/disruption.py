"""PodDisruptionBudget, policy/v1: how many pods of a selection may be evicted at a time.

Source: staging/src/k8s.io/api/policy/v1/types.go.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from svcsim.kube.api.base import LabelSelector, Lenient, ObjectMeta
from svcsim.kube.api.workloads import IntOrPercent


class PodDisruptionBudgetSpec(Lenient):
    """At least so many available, or at most so many not; a number or a percentage. Only one of the two may be set."""

    min_available: IntOrPercent | None = None
    max_unavailable: IntOrPercent | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: Literal["IfHealthyBudget", "AlwaysAllow"] = "IfHealthyBudget"

    @model_validator(mode="after")
    def _one_of_two(self) -> PodDisruptionBudgetSpec:
        if self.min_available is not None and self.max_unavailable is not None:
            raise ValueError("minAvailable and maxUnavailable cannot be both set")
        for value in (self.min_available, self.max_unavailable):
            if isinstance(value, str) and not (value.endswith("%") and value[:-1].isdecimal()):
                raise ValueError(f"a number or a percentage such as '50%' is expected, not {value[:40]!r}")
        return self


class PodDisruptionBudget(Lenient):
    """A PodDisruptionBudget."""

    api_version: Literal["policy/v1", "policy/v1beta1"] = "policy/v1"
    kind: Literal["PodDisruptionBudget"] = "PodDisruptionBudget"
    metadata: ObjectMeta
    spec: PodDisruptionBudgetSpec = Field(default_factory=PodDisruptionBudgetSpec)

    def selects(self, namespace: str, labels: dict[str, str]) -> bool:
        """Whether a pod falls under the budget; an empty selector takes all pods of the namespace, in v1beta1 none."""
        selector = self.spec.selector
        if selector is None or namespace != self.metadata.namespace:
            return False
        if not selector.match_labels and not selector.match_expressions:
            return self.api_version == "policy/v1"
        return selector.matches(labels)
