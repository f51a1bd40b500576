"""Pods that no node of the scenario fits: said before a run, for it explains what is missing in its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from svcsim.kube.api.base import ObjectMeta
from svcsim.kube.api.node import Node, well_known_labels
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.controllers.owned_pods import pod_from_template
from svcsim.kube.controllers.placement import refusal
from svcsim.kube.kinds import KubeObject
from svcsim.scenario.cluster import Node as DeclaredNode

OWNERS = (DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet)


def pending_notes(objects: Sequence[KubeObject], declared: Sequence[DeclaredNode]) -> Iterator[str]:
    """A note for each controller and pod that no node takes; `declared` are the nodes of the file, else Nodes are objects."""
    nodes = [
        Node(metadata=ObjectMeta(name=node.name, labels=well_known_labels(node.name, node.zone or "") | node.labels))
        for node in declared
    ] or [_registered(obj) for obj in objects if isinstance(obj, Node)]
    names = {node.metadata.name for node in nodes}
    for obj in objects:
        if isinstance(obj, OWNERS):
            pod, what = pod_from_template(obj, obj.spec.template), "its pods stay"
        elif isinstance(obj, Pod):
            pod, what = obj, "it stays"
        else:
            continue
        who = f"{obj.kind.lower()}/{obj.metadata.name}"
        if pod.spec.node_name:
            if pod.spec.node_name not in names:
                yield f"{who}: {what} pending, for there is no node {pod.spec.node_name!r}"
            continue
        reasons = {refusal(pod, node, ignore_unschedulable=True) for node in nodes}
        if reasons == {"node selector"}:
            wanted = ", ".join(f"{key}={value}" for key, value in pod.spec.node_selector.items())
            yield f"{who}: {what} pending, for no node has the labels of its nodeSelector ({wanted})"
        elif reasons and all(reason == "node selector" or reason.startswith("taint") for reason in reasons):
            yield f"{who}: {what} pending, for it tolerates no node's taints"


def _registered(node: Node) -> Node:
    labels = well_known_labels(node.metadata.name) | node.metadata.labels
    return node.model_copy(update={"metadata": node.metadata.model_copy(update={"labels": labels})})
