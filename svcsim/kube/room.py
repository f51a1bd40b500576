"""What is said of a cluster that begins with pods for which there is no room: nodes take no more, or have no address left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.controllers.placement import Load, refusal, room_for
from svcsim.kube.store import Store


def room_notes(store: Store) -> Iterator[str]:
    """A sentence for the pods whose every node is full, and one a node for those that it has no address for."""
    pods, nodes = store.list(Pod), store.list(Node)
    pending = [pod for pod in pods if not pod.spec.node_name and not pod.is_finished]
    load = Load.of(pods, {node.metadata.name: node for node in nodes})
    full = [node for node in nodes if pending and not room_for(node, load)]
    crowded = sum(any(not refusal(pod, node) for node in full) for pod in pending)
    if crowded:
        yield f"{crowded} of {len(pods)} pods stay Pending from the start: their nodes have no room for more (maxPods)"
    unaddressed = Counter(
        pod.spec.node_name for pod in pods if pod.status.phase == "Pending" and pod.spec.node_name and not pod.addresses
    )
    for node in nodes:
        count = unaddressed[node.metadata.name]
        if count and node.is_ready:
            block = ", ".join(node.pod_cidrs)
            yield f"{count} of {len(pods)} pods wait for an address from the start: {node.metadata.name} has none left of {block}"
