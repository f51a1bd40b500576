"""Taking over a running cluster from what `kubectl get -o yaml` printed of it.

What a dump leaves out is rebuilt: ReplicaSets from the owner references and `pod-template-hash` of their pods. Pods keep names,
nodes and addresses. Hashes that Kubernetes computes from Go values cannot be computed here: a pod's revision label is replaced by
svcsim's own, so that nothing looks outdated. A pod that was terminating, or whose node is not there, is not taken over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from svcsim.kube.api.base import OwnerReference
from svcsim.kube.api.endpoints import MANAGED_BY_LABEL, EndpointSlice
from svcsim.kube.api.pod import Pod, PodTemplate
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import POD_TEMPLATE_HASH_LABEL, DaemonSet, Deployment, ReplicaSet, StatefulSet
from svcsim.kube.controllers.deployment import replica_set_for, template_hash
from svcsim.kube.controllers.owned_pods import controller_of
from svcsim.kube.controllers.slice_reconciler import SLICE_CONTROLLER
from svcsim.kube.kinds import KubeObject
from svcsim.kube.pod_record import SETTLED_SINCE_NS
from svcsim.kube.store import with_metadata

REVISION_LABEL = "controller-revision-hash"


def is_imported(pod: Pod) -> bool:
    """Whether a pod comes from a running cluster: it has a uid."""
    return bool(pod.metadata.uid)


def adopt(objects: Iterable[KubeObject], nodes: Iterable[str]) -> list[KubeObject]:
    """The objects of a dump as svcsim takes them over; those of a plain manifest are left as they are."""
    everything = list(objects)
    known = frozenset(nodes)
    owners: dict[str, KubeObject] = {obj.metadata.uid: obj for obj in everything if obj.metadata.uid}
    pods = [_taken_over(obj, owners, known) for obj in everything if isinstance(obj, Pod)]
    taken = [pod for pod in pods if pod is not None]
    services = {obj.metadata.key: obj for obj in everything if isinstance(obj, Service)}
    others = [
        _owned_slice(obj, services) if isinstance(obj, EndpointSlice) else obj for obj in everything if not isinstance(obj, Pod)
    ]
    return [*others, *_rebuilt_replica_sets(taken, everything, owners), *taken]


def _taken_over(pod: Pod, owners: Mapping[str, KubeObject], nodes: frozenset[str]) -> Pod | None:
    if not is_imported(pod):
        return pod
    if pod.metadata.deletion_grace_period_seconds is not None:
        return None
    if pod.spec.node_name and pod.spec.node_name not in nodes:
        return None
    conditions = tuple(each.model_copy(update={"since_ns": SETTLED_SINCE_NS}) for each in pod.status.conditions)
    pod = pod.model_copy(update={"status": pod.status.model_copy(update={"conditions": conditions})})
    reference = controller_of(pod)
    owner = owners.get(reference.uid) if reference is not None else None
    if isinstance(owner, DaemonSet | StatefulSet) and REVISION_LABEL in pod.metadata.labels:
        return with_metadata(pod, labels={**pod.metadata.labels, REVISION_LABEL: template_hash(owner.spec.template)})
    return pod


def _rebuilt_replica_sets(
    pods: list[Pod], everything: list[KubeObject], owners: Mapping[str, KubeObject]
) -> list[ReplicaSet]:
    groups: dict[tuple[str, str], tuple[OwnerReference, list[Pod]]] = {}
    for pod in pods:
        reference = controller_of(pod)
        if reference is not None and reference.kind == "ReplicaSet" and reference.uid not in owners:
            groups.setdefault((pod.metadata.namespace, reference.name), (reference, []))[1].append(pod)
    deployments = [obj for obj in everything if isinstance(obj, Deployment)]
    rebuilt: list[ReplicaSet] = []
    current: set[str] = set()
    by_deployment: dict[str, list[int]] = {}
    sizes: dict[str, int] = {}
    # The largest group whose pods look like the Deployment's template is its present ReplicaSet.
    for (namespace, name), (reference, members) in sorted(groups.items(), key=lambda item: (-len(item[1][1]), item[0])):
        labels = members[0].metadata.labels
        deployment = next(
            (
                each
                for each in deployments
                if each.metadata.namespace == namespace
                and name.startswith(f"{each.metadata.name}-")
                and each.spec.pod_selector.matches(labels)
            ),
            None,
        )
        if deployment is None:
            continue
        hash_ = labels.get(POD_TEMPLATE_HASH_LABEL, "") or name.removeprefix(f"{deployment.metadata.name}-")
        key = deployment.metadata.key
        is_current = key not in current and _looks_like(members[0], deployment.spec.template)
        base = deployment if is_current else _with_template_of(deployment, members[0])
        if is_current:
            current.add(key)
        made = replica_set_for(base, len(members), 2 if is_current else 1, hash_)
        rebuilt.append(with_metadata(made, name=name, uid=reference.uid))
        by_deployment.setdefault(key, []).append(len(rebuilt) - 1)
        sizes[key] = deployment.replicas
    for key, indices in by_deployment.items():
        if len(indices) == 1 and key in current:  # no roll-out: it has all of the Deployment's pods
            only = rebuilt[indices[0]]
            rebuilt[indices[0]] = only.model_copy(update={"spec": only.spec.model_copy(update={"replicas": sizes[key]})})
    return rebuilt


def _images(spec_containers: Iterable[object]) -> list[object]:
    return [getattr(container, "image", "") for container in spec_containers]


def _looks_like(pod: Pod, template: PodTemplate) -> bool:
    """Whether a pod may have come from a template, by what an API server does not change."""
    same_images = _images(pod.spec.containers)[: len(template.spec.containers)] == _images(template.spec.containers)
    labels = pod.metadata.labels
    return same_images and all(labels.get(key) == value for key, value in template.metadata.labels.items())


def _with_template_of(deployment: Deployment, pod: Pod) -> Deployment:
    labels = {key: value for key, value in pod.metadata.labels.items() if key != POD_TEMPLATE_HASH_LABEL}
    spec = pod.spec.model_copy(update={"node_name": ""})
    template = PodTemplate(metadata=deployment.spec.template.metadata.model_copy(update={"labels": labels}), spec=spec)
    return deployment.model_copy(update={"spec": deployment.spec.model_copy(update={"template": template})})


def _owned_slice(piece: EndpointSlice, services: Mapping[str, Service]) -> EndpointSlice:
    """A slice with the controller's label belongs to its Service, also where the dump has lost the reference."""
    service = services.get(piece.service_key)
    if piece.metadata.labels.get(MANAGED_BY_LABEL) != SLICE_CONTROLLER or service is None or not service.metadata.uid:
        return piece
    if any(owner.kind == "Service" for owner in piece.metadata.owner_references):
        return piece
    owner = OwnerReference(
        api_version="v1", kind="Service", name=service.metadata.name, uid=service.metadata.uid, controller=True
    )
    return with_metadata(piece, owner_references=(owner,))
