"""Faults at objects of the API: what somebody deletes, scales, rolls out anew or applies."""

from __future__ import annotations

from typing import Any

from svcsim.errors import UsageError
from svcsim.faults.owners import pods_of
from svcsim.faults.stage import Act, Effect, Stage
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.workloads import Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.controllers.replicas import deletion_order, is_active
from svcsim.kube.kinds import KubeObject
from svcsim.kube.manifests import Manifests, read_object
from svcsim.kube.store import InvalidError, NotFoundError
from svcsim.scenario import faults as models
from svcsim.scenario.target import Target
from svcsim.yamlsource import Document

RESTARTED_ANNOTATION = "kubectl.kubernetes.io/restartedAt"


def delete(stage: Stage, act: Act, fault: models.Delete) -> Effect:
    """Objects go, pods with a grace period."""
    store = stage.machinery.store
    pods: list[Pod] = []
    for target in fault.targets:
        if target.is_pods and (target.kind == "pod" or target.index is not None):
            chosen = pods_of(store, target)
            grace = None if fault.grace_ns is None else -(-fault.grace_ns // 1_000_000_000)
            for pod in chosen:
                store.delete(Pod, pod.metadata.key, grace)
            pods += chosen
        else:
            model = _model_of(target)
            if target.is_pods:
                pods += pods_of(store, target)
            try:
                store.delete(model, target.name if target.kind == "node" else target.key)
            except NotFoundError:
                stage.note(f"{target} is not there any more")
    return pods, [target.name for target in fault.targets if target.kind == "node"], None


def scale(stage: Stage, act: Act, fault: models.Scale) -> Effect:
    """A controller has another number of replicas."""
    store = stage.machinery.store
    model = _model_of(fault.scale)
    obj: Any = store.get(model, fault.scale.key)
    if obj is None:
        stage.note(f"{fault.scale} is not there")
        return [], [], None
    pods = pods_of(store, fault.scale)
    store.update(obj.model_copy(update={"spec": obj.spec.model_copy(update={"replicas": fault.replicas})}))
    return _surplus(stage, fault, pods), [], None


def _surplus(stage: Stage, fault: models.Scale, pods: list[Pod]) -> list[Pod]:
    """The pods that are going to be too many, as their controller chooses them."""
    active = [pod for pod in pods if is_active(pod)]
    if fault.scale.kind == "statefulset":
        found = stage.machinery.store.get(StatefulSet, fault.scale.key)
        kept = found.ordinals if found is not None else range(fault.replicas)
        return [pod for pod in active if int(pod.metadata.name.rpartition("-")[2]) not in kept]
    return deletion_order(active, active, stage.clock.now)[: max(0, len(active) - fault.replicas)]


def rollout(stage: Stage, act: Act, fault: models.Rollout) -> Effect:
    """A new template, as `kubectl rollout restart` writes it."""
    store = stage.machinery.store
    pods: list[Pod] = []
    for target in fault.targets:
        obj: Any = store.get(_model_of(target), target.key)
        if obj is None:
            continue
        pods += pods_of(store, target)
        template = obj.spec.template
        annotations = {**template.metadata.annotations, RESTARTED_ANNOTATION: f"{stage.clock.now} ns"}
        metadata = template.metadata.model_copy(update={"annotations": annotations})
        spec = obj.spec.model_copy(update={"template": template.model_copy(update={"metadata": metadata})})
        store.update(obj.model_copy(update={"spec": spec}))
    return pods, [], None


def apply(stage: Stage, act: Act, fault: models.Apply) -> Effect:
    """Objects as `kubectl apply` would make or change them; UsageError if the API server refuses one."""
    store = stage.machinery.store
    manifests = Manifests()
    for data in fault.objects:
        problems = read_object(manifests, data, Document("apply", data, (1, 1), {}))
        assert not problems, problems
    manifests.settle()
    for obj in manifests.objects:
        old: Any = store.get(type(obj), obj.metadata.key)
        try:
            if old is None:
                store.create(obj)
            else:
                store.update(_applied(old, obj))
        except InvalidError as error:
            part = f"faults[{act.index}]"
            raise UsageError(f"{stage.place(part)}{part}: the API server refuses what is applied: {error}") from error
    return [], [], None


def _model_of(target: Target) -> type[KubeObject]:
    from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
    from svcsim.kube.api.ingress import Ingress
    from svcsim.kube.api.service import Service
    from svcsim.kube.api.workloads import DaemonSet

    models_by_kind: dict[str, type[KubeObject]] = {
        "deployment": Deployment, "daemonset": DaemonSet, "statefulset": StatefulSet, "replicaset": ReplicaSet,
        "replicationcontroller": ReplicationController, "pod": Pod, "node": Node, "service": Service, "endpoints": Endpoints,
        "endpointslice": EndpointSlice, "ingress": Ingress,
    }
    return models_by_kind[target.kind]


def _applied(old: Any, new: Any) -> Any:
    """What `kubectl apply` makes of an object: the new spec and labels, what the API server had filled in kept."""
    metadata = old.metadata.model_copy(
        update={"labels": dict(new.metadata.labels), "annotations": {**old.metadata.annotations, **new.metadata.annotations}}
    )
    kept = ("metadata", "status", "kind", "api_version")
    fields = {name: getattr(new, name) for name in new.model_fields_set if name not in kept}
    if "spec" in fields:
        given = {name: getattr(new.spec, name) for name in new.spec.model_fields_set}
        if given.get("cluster_ip") and "cluster_ips" not in given:
            given["cluster_ips"] = (given["cluster_ip"],)
        fields["spec"] = old.spec.model_copy(update=given)
    return old.model_copy(update={"metadata": metadata, **fields})
