"""A pod's conditions: set one, and derive Ready from containers and readiness gates.

Source: pkg/kubelet/status/generate.go (GeneratePodReadyCondition, GenerateContainersReadyCondition).
"""

from __future__ import annotations

from typing import Literal

from svcsim.kube.api.pod import CONTAINERS_READY, READY, Pod, PodCondition, PodStatus

Truth = Literal["True", "False", "Unknown"]


def with_condition(status: PodStatus, kind: str, truth: Truth, reason: str, now_ns: int) -> PodStatus:
    """The status with a condition set; its time changes only with its truth."""
    old = status.condition(kind)
    since_ns = old.since_ns if old is not None and old.status == truth else now_ns
    made = PodCondition(type=kind, status=truth, reason=reason, since_ns=since_ns)
    others = [made if condition.type == kind else condition for condition in status.conditions]
    if old is None:
        others.append(made)
    return status.model_copy(update={"conditions": tuple(others)})


def with_readiness(pod: Pod, status: PodStatus, *, containers_ready: bool, reason: str, now_ns: int) -> PodStatus:
    """The status with ContainersReady and Ready: the latter also needs every readiness gate (a missing one is False)."""
    status = with_condition(status, CONTAINERS_READY, "True" if containers_ready else "False", reason, now_ns)
    gates = [status.condition(gate.condition_type) for gate in pod.spec.readiness_gates]
    open_ = all(gate is not None and gate.status == "True" for gate in gates)
    if containers_ready and not open_:
        reason = "ReadinessGatesNotReady"
    return with_condition(status, READY, "True" if containers_ready and open_ else "False", reason, now_ns)
