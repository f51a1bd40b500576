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


def why_nowhere(pod: Pod, nodes: Iterable[Node]) -> str:
    """Why no node takes a pod, in the scheduler's words; a node that would take it is full, or lacks the ports that it takes.

    Source: pkg/scheduler/framework/types.go (FitError.Error) and the plugins' reasons.
    """
    everything = list(nodes)
    if not everything:
        return "no nodes available to schedule pods"
    reasons = sorted(Counter(_reason(pod, node) for node in everything).items())
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons))
    full = sum(count for reason, count in reasons if reason in (_TOO_MANY, _NO_PORTS))
    total = len(everything)
    parts = [f"{full} No preemption victims found for incoming pod"] if full else []
    if total > full:
        parts.append(f"{total - full} Preemption is not helpful for scheduling")
    return f"0/{total} nodes are available: {told}. preemption: 0/{total} nodes are available: {', '.join(parts)}."


_TOO_MANY = "Too many pods"
_NO_PORTS = "node(s) didn't have free ports for the requested pod ports"


def _reason(pod: Pod, node: Node) -> str:
    refused = refusal(pod, node)
    if refused == "node selector":
        return "node(s) didn't match Pod's node affinity/selector"
    if refused == "unschedulable":
        return "node(s) were unschedulable"
    if refused == "not ready":
        return f"node(s) had untolerated taint {{{NOT_READY_TAINT}: }}"
    for taint in node.spec.taints if refused else ():
        if taint.effect != "PreferNoSchedule" and toleration_of(pod, taint) is None:
            return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    return _NO_PORTS if host_ports(pod) else _TOO_MANY


def owner_of(pod: Pod) -> str:
    """What a pod is spread with: its controller's uid, or itself."""
    return next((owner.uid for owner in pod.metadata.owner_references if owner.controller), pod.metadata.uid)


HostPort = tuple[str, str, int]


def host_ports(pod: Pod) -> set[HostPort]:
    """(address, protocol, number) of each port that a pod takes of its node; on the host's network that is every one."""
    host = pod.spec.host_network
    return {
        (port.host_ip or "0.0.0.0", port.protocol, port.host_port or port.container_port)
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port or host
    }


def ports_clash(wanted: set[HostPort], taken: set[HostPort]) -> bool:
    """Whether a port is taken; the unspecified address stands for all (pkg/scheduler/framework/types.go, HostPortInfo)."""
    return any(
        protocol == other and number == port and (address == place or "0.0.0.0" in (address, place))
        for address, protocol, number in wanted
        for place, other, port in taken
    )


@dataclass(slots=True)
class Load:
    """How many pods there are: by node, and of each owner by node and by zone (those not terminating)."""

    by_node: dict[str, int] = field(default_factory=dict)
    owner_by_node: dict[str, dict[str, int]] = field(default_factory=dict)
    owner_by_zone: dict[str, dict[str, int]] = field(default_factory=dict)
    ports_by_node: dict[str, set[HostPort]] = field(default_factory=dict)

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
        ports = host_ports(pod)
        if ports:
            self.ports_by_node.setdefault(name, set()).update(ports)
        self.by_node[name] = self.by_node.get(name, 0) + 1
        if not pod.is_terminating:
            for counts, where in ((self.owner_by_node, name), (self.owner_by_zone, node.zone)):
                of_owner = counts.setdefault(owner, {})
                of_owner[where] = of_owner.get(where, 0) + 1


def room_for(node: Node, load: Load) -> bool:
    """Whether a node takes one pod more (`allocatable.pods`; without a word of it, any number)."""
    limit = str(node.status.allocatable.get("pods", node.status.capacity.get("pods", "")))
    return not limit.isdecimal() or load.by_node.get(node.metadata.name, 0) < int(limit)


def nodes_to_score(nodes: int) -> int:
    """How many fitting nodes of so many are looked at: all of up to 100, then 50 % and less, down to 5 %.

    Source: pkg/scheduler/schedule_one.go, numFeasibleNodesToFind.
    """
    if nodes <= 100:
        return nodes
    return max(100, nodes * max(5, 50 - nodes // 125) // 100)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that a pod fits on, room aside; `unliked` counts taints that it would rather avoid."""

    node: Node
    name: str
    zone: str
    unliked: int


def candidates(pod: Pod, nodes: Iterable[Node]) -> list[Candidate]:
    """The nodes that a pod (or any other of its template) may be placed on."""
    return [
        Candidate(
            node, node.metadata.name, node.zone,
            sum(taint.effect == "PreferNoSchedule" and toleration_of(pod, taint) is None for taint in node.spec.taints),
        )
        for node in nodes
        if not refusal(pod, node)
    ]


def choose_node(pod: Pod, fitting: Sequence[Candidate], load: Load, start: int = 0) -> Node | None:
    """The node for a pod, None when it fits nowhere; of equally good ones the first.

    In large clusters not every node is looked at; `start` says with which to begin.
    """
    owner = owner_of(pod)
    on_node, in_zone = load.owner_by_node.get(owner, {}), load.owner_by_zone.get(owner, {})
    wanted = nodes_to_score(len(fitting))
    ports = host_ports(pod)
    best: Candidate | None = None
    best_cost: tuple[int, int, int, int] | None = None
    for index in range(start, start + len(fitting)):
        each = fitting[index % len(fitting)]
        cost = (each.unliked, on_node.get(each.name, 0), in_zone.get(each.zone, 0), load.by_node.get(each.name, 0))
        if (best_cost is None or cost < best_cost) and room_for(each.node, load) and not (
            ports and ports_clash(ports, load.ports_by_node.get(each.name, set()))
        ):
            best, best_cost = each, cost
        wanted -= 1
        if wanted <= 0 and best is not None:
            break
    return best.node if best is not None else None
