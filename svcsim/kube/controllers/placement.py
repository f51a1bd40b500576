"""Where a pod may run and where it runs best: the scheduler's decision for one pod.

Filters: readiness, taints, nodeSelector, `spec.unschedulable`. Scores: few pods of the same owner on the node, then in the
zone, then few pods at all. Sources: pkg/scheduler/framework/plugins (tainttoleration, nodeaffinity, podtopologyspread's
system defaults), component-helpers scheduling/corev1/helpers.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from svcsim.kube.api.node import NOT_READY_TAINT, Node, Taint
from svcsim.kube.api.pod import Pod, Toleration


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration covers a taint."""
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    return toleration.operator == "Exists" or (bool(toleration.key) and toleration.value == taint.value)


def toleration_of(pod: Pod, taint: Taint) -> Toleration | None:
    """The pod's first toleration of a taint, None without."""
    return next((toleration for toleration in pod.spec.tolerations if tolerates(toleration, taint)), None)


def refusal(pod: Pod, node: Node, *, ignore_unschedulable: bool = False) -> str:
    """Why a pod may not be placed on a node; empty if it may."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return "node selector"
    if node.spec.unschedulable and not ignore_unschedulable:
        return "unschedulable"
    for taint in node.spec.taints:
        if taint.effect != "PreferNoSchedule" and toleration_of(pod, taint) is None:
            return f"taint {taint.key}"
    if not node.is_ready and not any(tolerates(each, _NOT_READY) for each in pod.spec.tolerations):
        return "not ready"
    return ""


_NOT_READY = Taint(key=NOT_READY_TAINT, effect="NoSchedule")


def owner_of(pod: Pod) -> str:
    """What a pod is spread with: its controller's uid, or itself."""
    return next((owner.uid for owner in pod.metadata.owner_references if owner.controller), pod.metadata.uid)


@dataclass(slots=True)
class Load:
    """How many pods there are, by node, and by owner and node or zone."""

    by_node: Counter[str] = field(default_factory=Counter)
    by_owner_and_node: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_owner_and_zone: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, pods: Iterable[Pod], nodes: Mapping[str, Node]) -> Load:
        """The load that these pods make."""
        load = cls()
        for pod in pods:
            node = nodes.get(pod.spec.node_name)
            if node is not None and not pod.is_finished:
                load.add(pod, node)
        return load

    def add(self, pod: Pod, node: Node) -> None:
        """A pod more on a node."""
        name, owner = node.metadata.name, owner_of(pod)
        self.by_node[name] += 1
        if not pod.is_terminating:
            self.by_owner_and_node[(owner, name)] += 1
            self.by_owner_and_zone[(owner, node.zone)] += 1


def room_for(node: Node, load: Load) -> bool:
    """Whether a node takes one pod more (`allocatable.pods`; without a word of it, any number)."""
    limit = str(node.status.allocatable.get("pods", node.status.capacity.get("pods", "")))
    return not limit.isdecimal() or load.by_node[node.metadata.name] < int(limit)


def nodes_to_score(nodes: int) -> int:
    """How many fitting nodes of so many are looked at: all of up to 100, then 50 % and less, down to 5 %.

    Source: pkg/scheduler/schedule_one.go, numFeasibleNodesToFind.
    """
    if nodes <= 100:
        return nodes
    return max(100, nodes * max(5, 50 - nodes // 125) // 100)


def choose_node(pod: Pod, nodes: Sequence[Node], load: Load, start: int = 0) -> Node | None:
    """The node for a pod, None when it fits nowhere; of equally good ones the first.

    In large clusters not every node is looked at; `start` says with which to begin.
    """
    owner = owner_of(pod)

    def cost(node: Node) -> tuple[int, int, int, int]:
        name = node.metadata.name
        unliked = sum(
            taint.effect == "PreferNoSchedule" and toleration_of(pod, taint) is None for taint in node.spec.taints
        )
        return (
            unliked,
            load.by_owner_and_node[(owner, name)],
            load.by_owner_and_zone[(owner, node.zone)],
            load.by_node[name],
        )

    wanted = nodes_to_score(len(nodes))
    fitting: list[Node] = []
    for index in range(len(nodes)):
        node = nodes[(start + index) % len(nodes)]
        if not refusal(pod, node) and room_for(node, load):
            fitting.append(node)
            if len(fitting) == wanted:
                break
    return min(fitting, key=cost) if fitting else None
