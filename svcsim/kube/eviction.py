"""The eviction subresource: a pod is deleted if its PodDisruptionBudget allows it.

A budget is judged by the pods as they stand at that instant, which is what the disruption controller's status and the API
server's own count of evictions under way come to. Sources: pkg/registry/core/pod/storage/eviction.go,
pkg/controller/disruption/disruption.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.kube.api.disruption import PodDisruptionBudget
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.workloads import Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.controllers.owned_pods import controller_of
from svcsim.kube.controllers.rolling import resolve
from svcsim.kube.store import Store

Scaled = ReplicaSet | ReplicationController | StatefulSet
_SCALED: dict[str, type[Scaled]] = {
    "ReplicaSet": ReplicaSet, "ReplicationController": ReplicationController, "StatefulSet": StatefulSet,
}


@dataclass(frozen=True, slots=True)
class Budget:
    """What a PodDisruptionBudget comes to now: its status."""

    expected: int
    healthy: int
    desired: int

    @property
    def allowed(self) -> int:
        """How many pods may be evicted now."""
        return max(0, self.healthy - self.desired) if self.expected > 0 else 0


def budget_of(pdb: PodDisruptionBudget, store: Store) -> Budget:
    """The state of a budget (getExpectedPodCount, countHealthyPods, updatePdbStatus)."""
    pods = [pod for pod in store.each(Pod) if pdb.selects(pod.metadata.namespace, pod.metadata.labels)]
    healthy = sum(pod.is_ready and not pod.is_terminating for pod in pods)
    least, most = pdb.spec.min_available, pdb.spec.max_unavailable
    if most is not None:
        expected = _scale(pods, store)
        desired = max(0, expected - resolve(most, expected, up=True))
    elif isinstance(least, str):
        expected = _scale(pods, store)
        desired = resolve(least, expected, up=True)
    else:
        expected, desired = len(pods), least or 0
    return Budget(expected, healthy, desired)


def _scale(pods: list[Pod], store: Store) -> int:
    """How many pods the controllers of these are meant to have, a Deployment's through its ReplicaSets counted once."""
    found: dict[str, int] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner is None or owner.kind not in _SCALED:
            continue
        scaled: Scaled | None = store.get(_SCALED[owner.kind], f"{pod.metadata.namespace}/{owner.name}")
        if scaled is None:
            continue
        above = controller_of(scaled)
        deployment = store.get(Deployment, f"{pod.metadata.namespace}/{above.name}") if above is not None else None
        if deployment is not None:
            found[deployment.metadata.uid] = deployment.replicas
        else:
            found[scaled.metadata.uid] = scaled.replicas
    return sum(found.values())


def refusal(pod: Pod, store: Store) -> str:
    """Why a pod may not be evicted now, in the API server's words; empty if it may."""
    if pod.is_terminating or pod.is_finished or pod.status.phase == "Pending":
        return ""
    budgets = [pdb for pdb in store.each(PodDisruptionBudget) if pdb.selects(pod.metadata.namespace, pod.metadata.labels)]
    if not budgets:
        return ""
    if len(budgets) > 1:
        return "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    [pdb] = budgets
    budget = budget_of(pdb, store)
    if not pod.is_ready:
        if pdb.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
            return ""
        if budget.desired > 0 and budget.healthy >= budget.desired:
            return ""
    if budget.allowed > 0:
        return ""
    return (
        f"Cannot evict pod as it would violate the pod's disruption budget: the budget {pdb.metadata.name} needs "
        f"{budget.desired} healthy pods and has {budget.healthy} currently"
    )


def evict(pod: Pod, store: Store, grace_seconds: int | None = None) -> str:
    """Delete a pod gracefully if its budget allows; else the reason why not. NotFoundError."""
    why = refusal(pod, store)
    if not why:
        store.delete(Pod, pod.metadata.key, grace_seconds)
    return why
