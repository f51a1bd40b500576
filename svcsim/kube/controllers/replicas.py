"""Which pods a ReplicaSet or ReplicationController lacks or can do without.

Source: pkg/controller/controller_utils.go (ActivePodsWithRanks), pkg/controller/replicaset/replica_set.go (getPodsToDelete),
KEP-2185 (logarithmic scale down).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from svcsim.kube.api.pod import READY, Pod

DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def is_active(pod: Pod) -> bool:
    """Whether a pod counts: it has not ended and is not being deleted."""
    return not pod.is_finished and not pod.is_terminating


def ready_since_ns(pod: Pod) -> int | None:
    """When a pod became ready, None if it is not."""
    condition = pod.status.condition(READY)
    return condition.since_ns if condition is not None and condition.status == "True" else None


def is_available(pod: Pod, min_ready_ns: int, now_ns: int) -> bool:
    """Whether a pod has been ready for long enough."""
    since_ns = ready_since_ns(pod)
    return since_ns is not None and (not min_ready_ns or since_ns + min_ready_ns <= now_ns)


def _bucket(age_ns: int) -> int:
    """Ages are compared by their order of magnitude (base 2, in seconds), so that not always the same zone's pods go."""
    return (max(0, age_ns) // 1_000_000_000).bit_length()


def deletion_order(pods: Sequence[Pod], related: Sequence[Pod], now_ns: int) -> list[Pod]:
    """The pods, first to go first: unassigned, pending, not ready, cheap, crowded on a node, young, often restarted ones.

    `related` are the active pods of all ReplicaSets of the same owner: many of them on a node is a reason to go.
    """
    crowd = Counter(pod.spec.node_name for pod in related)

    def rank(pod: Pod) -> tuple[bool, int, bool, int, int, int, int, int, str]:
        since_ns = ready_since_ns(pod)
        restarts = sum(status.restart_count for status in pod.status.container_statuses)
        return (
            bool(pod.spec.node_name),
            _PHASES.get(pod.status.phase, 2),
            pod.is_ready,
            _cost(pod),
            -crowd[pod.spec.node_name],
            0 if since_ns is None else _bucket(now_ns - since_ns),
            -restarts,
            _bucket(now_ns - pod.metadata.creation_ns),
            pod.metadata.uid,
        )

    return sorted(pods, key=rank)


def _cost(pod: Pod) -> int:
    text = pod.metadata.annotations.get(DELETION_COST_ANNOTATION, "0")
    try:
        return int(text)
    except ValueError:
        return 0
