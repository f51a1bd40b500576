"""The Deployment controller's loop: one ReplicaSet for each template, scaled step by step.

Source: pkg/controller/deployment/deployment_controller.go (syncDeployment), sync.go (getNewReplicaSet, cleanupDeployment).
"""

from __future__ import annotations

import hashlib

from svcsim.kube.api.base import LabelSelector, ObjectMeta
from svcsim.kube.api.pod import Pod, PodTemplate
from svcsim.kube.api.workloads import (
    POD_TEMPLATE_HASH_LABEL,
    Deployment,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaStatus,
)
from svcsim.kube.controllers.owned_pods import controller_of, owner_reference
from svcsim.kube.controllers.replicaset import controller_pace
from svcsim.kube.controllers.rolling import Revision, Target, fenceposts, first_replicas, plan
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.store import SUFFIX_ALPHABET, AlreadyExistsError, Change, Event, with_metadata
from svcsim.kube.timings import Timings
from svcsim.kube.workqueue import WorkQueue

DESIRED_ANNOTATION = "deployment.kubernetes.io/desired-replicas"
REVISION_ANNOTATION = "deployment.kubernetes.io/revision"
RESTARTED_ANNOTATION = "kubectl.kubernetes.io/restartedAt"
REVISION_HISTORY_LIMIT = 10


def template_hash(template: PodTemplate) -> str:
    """A short name of a template, equal for equal ones. Its shape is Kubernetes'; the value, a hash of Go's own, is not."""
    digest = hashlib.blake2b(template.model_dump_json(exclude_defaults=True).encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    letters = []
    for _ in range(10):
        number, digit = divmod(number, len(SUFFIX_ALPHABET))
        letters.append(SUFFIX_ALPHABET[digit])
    return "".join(letters)


def _without_hash(template: PodTemplate) -> PodTemplate:
    labels = {key: value for key, value in template.metadata.labels.items() if key != POD_TEMPLATE_HASH_LABEL}
    return PodTemplate(
        metadata=ObjectMeta(labels=labels, annotations=dict(template.metadata.annotations)), spec=template.spec
    )


def same_template(one: PodTemplate, other: PodTemplate) -> bool:
    """Whether two templates are equal but for the hash label."""
    return _without_hash(one) == _without_hash(other)


def replica_set_for(deployment: Deployment, replicas: int, revision: int, hash_: str = "") -> ReplicaSet:
    """The ReplicaSet of a Deployment's present template."""
    template = deployment.spec.template
    hash_ = hash_ or template_hash(template)
    selector = deployment.spec.pod_selector
    labels = {**template.metadata.labels, POD_TEMPLATE_HASH_LABEL: hash_}
    metadata = ObjectMeta(
        name=f"{deployment.metadata.name}-{hash_}",
        namespace=deployment.metadata.namespace,
        labels=labels,
        annotations={DESIRED_ANNOTATION: str(deployment.replicas), REVISION_ANNOTATION: str(revision)},
        owner_references=(owner_reference(deployment),),
    )
    spec = ReplicaSetSpec(
        replicas=replicas,
        min_ready_seconds=deployment.spec.min_ready_seconds,
        selector=LabelSelector(
            match_labels={**selector.match_labels, POD_TEMPLATE_HASH_LABEL: hash_},
            match_expressions=selector.match_expressions,
        ),
        template=PodTemplate(
            metadata=ObjectMeta(labels=labels, annotations=dict(template.metadata.annotations)), spec=template.spec
        ),
    )
    return ReplicaSet(metadata=metadata, spec=spec)


def target_of(deployment: Deployment) -> Target:
    """What a Deployment asks for, its percentages resolved."""
    strategy = deployment.spec.strategy
    rolling = strategy.rolling_update
    surge, unavailable = fenceposts(
        rolling.max_surge if rolling else None, rolling.max_unavailable if rolling else None, deployment.replicas
    )
    if strategy.type == "Recreate":
        return Target(deployment.replicas, 0, deployment.replicas, recreate=True)
    return Target(deployment.replicas, surge, unavailable)


def _number(annotations: dict[str, str], key: str, default: int) -> int:
    text = annotations.get(key, "")
    return int(text) if text.isdecimal() else default


def revision_of(replica_set: ReplicaSet) -> Revision:
    """A ReplicaSet as a roll-out looks at it."""
    return Revision(
        replica_set.metadata.name,
        replica_set.replicas,
        replica_set.status.available_replicas,
        _number(replica_set.metadata.annotations, DESIRED_ANNOTATION, -1),
        _number(replica_set.metadata.annotations, REVISION_ANNOTATION, 0),
    )


class DeploymentController:
    """Keeps the ReplicaSets of all Deployments."""

    __slots__ = ("_events", "_informer", "_queue")

    def __init__(self, informer: Informer, timings: Timings) -> None:
        self._informer = informer
        self._events = EventRecorder(informer.client, "deployment-controller")
        self._queue = WorkQueue(informer.client, controller_pace(timings), self._sync)
        informer.on(Deployment, lambda event: self._queue.add(event.obj.metadata.key))
        informer.on(ReplicaSet, self._owned_changed)
        informer.on(Pod, self._pod_changed)

    def resync(self) -> None:
        """Look at every Deployment, as after the start of the controller."""
        for deployment in self._informer.each(Deployment):
            self._queue.add(deployment.metadata.key)

    def _owned_changed(self, event: Event) -> None:
        owner = controller_of(event.obj)
        if owner is not None and owner.kind == "Deployment":
            self._queue.add(f"{event.obj.metadata.namespace}/{owner.name}")

    def _pod_changed(self, event: Event) -> None:
        """The end of an old pod is what a Recreate waits for."""
        owner = controller_of(event.obj)
        if event.change is not Change.DELETED or owner is None or owner.kind != "ReplicaSet":
            return
        replica_set = self._informer.get(ReplicaSet, f"{event.obj.metadata.namespace}/{owner.name}")
        deployment = controller_of(replica_set) if replica_set is not None else None
        if deployment is not None:
            self._queue.add(f"{event.obj.metadata.namespace}/{deployment.name}")

    def replica_sets_of(self, deployment: Deployment) -> list[ReplicaSet]:
        """The ReplicaSets that a Deployment controls, as far as they are known, in order of their revisions."""
        found = self._informer.replica_sets_of_owner(deployment.metadata.uid)
        return sorted(found, key=lambda each: _number(each.metadata.annotations, REVISION_ANNOTATION, 0))

    def _sync(self, key: str) -> int:
        deployment = self._informer.get(Deployment, key)
        if deployment is None or deployment.metadata.deletion_ns is not None:
            return 0
        sets = self.replica_sets_of(deployment)
        new = next((each for each in sets if same_template(each.spec.template, deployment.spec.template)), None)
        writes = 0 if deployment.spec.paused else self._roll(deployment, new, [each for each in sets if each is not new])
        return writes + self._write_status(deployment, sets, new)

    def _roll(self, deployment: Deployment, new: ReplicaSet | None, old: list[ReplicaSet]) -> int:
        client = self._informer.client
        target = target_of(deployment)
        old_revisions = [revision_of(each) for each in old]
        left = target.recreate and any(
            not pod.is_finished for each in old for pod in self._informer.pods_of_owner(each.metadata.uid)
        )
        if new is None and not (target.recreate and (left or any(each.replicas for each in old))):
            number = 1 + max((revision.created for revision in old_revisions), default=0)
            size = first_replicas(target, old_revisions)
            try:
                made = client.create(replica_set_for(deployment, size, number))
            except AlreadyExistsError:
                return 0  # made a moment ago, and not in the cache yet
            if size:
                self._scaled(deployment, made, 0, size)
            return 1
        sizes = plan(target, revision_of(new) if new is not None else None, old_revisions, old_pods_left=left)
        for each in [*([new] if new is not None else []), *old]:
            if each.metadata.name in sizes:
                annotations = {**each.metadata.annotations, DESIRED_ANNOTATION: str(deployment.replicas)}
                spec = each.spec.model_copy(update={"replicas": sizes[each.metadata.name]})
                client.update(with_metadata(each.model_copy(update={"spec": spec}), annotations=annotations))
                self._scaled(deployment, each, each.replicas, sizes[each.metadata.name])
        return len(sizes) + (self._promote(new, old_revisions) if new is not None and not sizes else 0) + self._clean_up(
            deployment, new, old
        )

    def _scaled(self, deployment: Deployment, replica_set: ReplicaSet, before: int, after: int) -> None:
        if before != after:
            way = "up" if after > before else "down"
            text = f"Scaled {way} replica set {replica_set.metadata.name} from {before} to {after}"
            self._events.normal(deployment, "ScalingReplicaSet", text)

    def _promote(self, new: ReplicaSet, old: list[Revision]) -> int:
        """A ReplicaSet that serves again after a roll-back gets the newest revision number."""
        number = _number(new.metadata.annotations, REVISION_ANNOTATION, 0)
        newest = max((revision.created for revision in old), default=0)
        if number > newest:
            return 0
        self._informer.client.update(
            with_metadata(new, annotations={**new.metadata.annotations, REVISION_ANNOTATION: str(newest + 1)})
        )
        return 1

    def _clean_up(self, deployment: Deployment, new: ReplicaSet | None, old: list[ReplicaSet]) -> int:
        limit = deployment.spec.revision_history_limit
        keep = REVISION_HISTORY_LIMIT if limit is None else limit
        empty = [each for each in old if each.replicas == 0 and each.status.replicas == 0]
        surplus = empty[: max(0, len(empty) - keep)] if new is not None else []
        for each in surplus:
            self._informer.client.delete(ReplicaSet, each.metadata.key)
        return len(surplus)

    def _write_status(self, deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None) -> int:
        status = deployment_status(deployment, sets, new)
        if status == deployment.status:
            return 0
        self._informer.client.update_status(deployment.model_copy(update={"status": status}))
        return 1


def deployment_status(deployment: Deployment, sets: list[ReplicaSet], new: ReplicaSet | None) -> ReplicaStatus:
    """The counts of a Deployment, from those of its ReplicaSets."""
    available = sum(each.status.available_replicas for each in sets)
    total = sum(each.status.replicas for each in sets)
    return ReplicaStatus(
        replicas=total,
        ready_replicas=sum(each.status.ready_replicas for each in sets),
        available_replicas=available,
        updated_replicas=new.status.replicas if new is not None else 0,
        unavailable_replicas=max(0, total - available),
    )
