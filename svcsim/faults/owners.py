"""What targets mean: from a controller to its pods through the owner references of the API, from labels and zones to nodes."""

from __future__ import annotations

from collections.abc import Iterable

from svcsim.kube.api.base import OwnerReference
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.workloads import ReplicaSet
from svcsim.kube.store import Store
from svcsim.scenario.target import Target

_KINDS = {
    "deployment": "Deployment", "daemonset": "DaemonSet", "statefulset": "StatefulSet", "replicaset": "ReplicaSet",
    "replicationcontroller": "ReplicationController",
}


def _controller(references: tuple[OwnerReference, ...]) -> OwnerReference | None:
    return next((reference for reference in references if reference.controller), references[0] if references else None)


def is_pod_of(store: Store, pod: Pod, kind: str, name: str) -> bool:
    """Whether a pod belongs to a controller, a Deployment's through its ReplicaSets."""
    owner = _controller(pod.metadata.owner_references)
    if owner is None:
        return False
    if (owner.kind, owner.name) == (kind, name):
        return True
    if kind == "Deployment" and owner.kind == "ReplicaSet":
        replica_set = store.get(ReplicaSet, f"{pod.metadata.namespace}/{owner.name}")
        above = None if replica_set is None else _controller(replica_set.metadata.owner_references)
        return above is not None and (above.kind, above.name) == (kind, name)
    return False


def pods_of(store: Store, target: Target) -> list[Pod]:
    """The pods that a target means now, in the order of their creation; those that are terminating come last.

    An index counts a controller's pods, of a StatefulSet it is the ordinal; one that is beyond them means none.
    """
    found: list[Pod] = []
    for pod in store.each(Pod):
        metadata = pod.metadata
        if metadata.namespace != target.namespace:
            continue
        if target.labels:
            if all(metadata.labels.get(key) == value for key, value in target.labels):
                found.append(pod)
        elif target.kind == "pod":
            if target.name in ("*", metadata.name):
                found.append(pod)
        elif target.kind in _KINDS and is_pod_of(store, pod, _KINDS[target.kind], target.name):
            found.append(pod)
    found.sort(key=lambda pod: (pod.metadata.deletion_ns is not None, pod.metadata.creation_ns))
    if target.index is None:
        return found
    if target.kind == "statefulset":
        return [pod for pod in found if pod.metadata.name == f"{target.name}-{target.index}"]
    return found[target.index : target.index + 1]


def nodes_of(store: Store, targets: Iterable[Target]) -> list[str]:
    """The names of the nodes that targets mean now, each once."""
    found: dict[str, None] = {}
    for target in targets:
        for node in store.each(Node):
            labels = node.metadata.labels
            if not target.is_nodes:
                chosen = False
            elif target.labels:
                chosen = all(labels.get(key) == value for key, value in target.labels)
            elif target.kind == "zone":
                chosen = node.zone == target.name
            else:
                chosen = target.name in ("*", node.metadata.name)
            if chosen:
                found[node.metadata.name] = None
    return list(found)
