"""When a node counts as lost, and how fast pods may be evicted from lost nodes: pure decisions.

Source: pkg/controller/nodelifecycle/node_lifecycle_controller.go (tryUpdateNodeHealth, ComputeZoneState, setLimiterInZone,
handleDisruption).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from svcsim.kube.api.node import NOT_READY_TAINT, UNREACHABLE_TAINT, Node, NodeCondition, Taint
from svcsim.kube.timings import Timings

READY = "Ready"
UNKNOWN_REASON = "NodeStatusUnknown"


@dataclass(frozen=True, slots=True)
class Sign:
    """The last sign of life of a node: the lease's time as it was read, and when the controller first read it."""

    renew_ns: int
    seen_ns: int
    status: str = ""


def observe(known: Sign | None, renew_ns: int, status: str, now_ns: int) -> Sign:
    """The sign after a look: a new lease or a new status of the Ready condition counts from now."""
    if known is None or renew_ns > known.renew_ns or status != known.status:
        return Sign(renew_ns, now_ns, status)
    return known


def is_lost(sign: Sign, grace_ns: int, now_ns: int) -> bool:
    """Whether a node has been silent for longer than the grace period."""
    return now_ns > sign.seen_ns + grace_ns


class ZoneState(Enum):
    """How much of a zone is lost."""

    NORMAL = "normal"
    PARTIAL = "partial disruption"
    FULL = "full disruption"


def zone_state(ready: int, not_ready: int, unhealthy_share: float) -> ZoneState:
    """The state of a zone with so many nodes ready and not."""
    if ready == 0 and not_ready > 0:
        return ZoneState.FULL
    if not_ready > 2 and not_ready / (not_ready + ready) >= unhealthy_share:
        return ZoneState.PARTIAL
    return ZoneState.NORMAL


def zone_states(nodes: Iterable[Node], unhealthy_share: float) -> dict[str, ZoneState]:
    """The state of each zone."""
    counts: dict[str, list[int]] = {}
    for node in nodes:
        counts.setdefault(node.zone, [0, 0])[0 if node.is_ready else 1] += 1
    return {zone: zone_state(ready, lost, unhealthy_share) for zone, (ready, lost) in counts.items()}


def eviction_interval_ns(zone: str, states: Mapping[str, ZoneState], sizes: Mapping[str, int], timings: Timings) -> int | None:
    """The time between two nodes of a zone that are tainted for eviction; None: not at all."""
    if states and all(state is ZoneState.FULL for state in states.values()):
        return None
    if states.get(zone) is ZoneState.PARTIAL:
        large = sizes.get(zone, 0) > timings.large_cluster_nodes
        return timings.node_secondary_eviction_interval_ns if large else None
    return timings.node_eviction_interval_ns


def ready_condition(node: Node) -> NodeCondition | None:
    """The Ready condition of a node, None without one."""
    return next((condition for condition in node.status.conditions if condition.type == READY), None)


def with_ready(node: Node, status: str, reason: str, now_ns: int) -> Node:
    """The node with another Ready condition."""
    made = NodeCondition.model_validate({"type": READY, "status": status, "reason": reason, "since_ns": now_ns})
    others = tuple(condition for condition in node.status.conditions if condition.type != READY)
    return node.model_copy(update={"status": node.status.model_copy(update={"conditions": (*others, made)})})


def wanted_taint(node: Node) -> str | None:
    """The key of the taint that a node's Ready condition calls for, None when it is ready."""
    condition = ready_condition(node)
    if condition is None or condition.status == "True":
        return None
    return UNREACHABLE_TAINT if condition.status == "Unknown" else NOT_READY_TAINT


def with_taints(node: Node, key: str | None, effect: str, now_ns: int) -> Node:
    """The node with just this life-cycle taint of an effect (None: without any)."""
    lost = (NOT_READY_TAINT, UNREACHABLE_TAINT)
    has = [taint for taint in node.spec.taints if taint.key in lost and taint.effect == effect]
    if [taint.key for taint in has] == ([key] if key else []):
        return node
    taints = tuple(taint for taint in node.spec.taints if taint not in has)
    if key:
        taints += (Taint.model_validate({"key": key, "effect": effect, "added_ns": now_ns}),)
    return node.model_copy(update={"spec": node.spec.model_copy(update={"taints": taints})})


@dataclass(frozen=True, slots=True)
class EvictionPace:
    """The token bucket (of one) of a zone: when the next node may be tainted."""

    next_ns: int = 0

    def take(self, interval_ns: int | None, now_ns: int) -> EvictionPace | None:
        """The bucket after a node has been tainted now; None when it has to wait."""
        if interval_ns is None or now_ns < self.next_ns:
            return None
        return replace(self, next_ns=now_ns + interval_ns)
