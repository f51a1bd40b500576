"""Making pods from a template, and waiting for one's own writes to come back before acting again.

Source: pkg/controller/controller_utils.go (GetPodFromTemplate, UIDTrackingControllerExpectations).
"""

from __future__ import annotations

from svcsim.kube.api.base import ObjectMeta, OwnerReference
from svcsim.kube.api.pod import Pod, PodTemplate
from svcsim.kube.client import Client
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import Change, Event, NotFoundError


def owner_reference(owner: KubeObject) -> OwnerReference:
    """The reference by which a controller owns what it makes."""
    return OwnerReference(
        api_version=owner.api_version, kind=owner.kind, name=owner.metadata.name, uid=owner.metadata.uid, controller=True
    )


def controller_of(obj: KubeObject) -> OwnerReference | None:
    """The controlling owner of an object, None without."""
    return next((owner for owner in obj.metadata.owner_references if owner.controller), None)


def pod_from_template(owner: KubeObject, template: PodTemplate, name: str = "") -> Pod:
    """A pod of an owner; without a name it gets one generated from the owner's."""
    metadata = ObjectMeta(
        name=name,
        generate_name="" if name else f"{owner.metadata.name}-",
        namespace=owner.metadata.namespace,
        labels=dict(template.metadata.labels),
        annotations=dict(template.metadata.annotations),
        owner_references=(owner_reference(owner),),
    )
    return Pod(metadata=metadata, spec=template.spec)


class Expectations:
    """Per owner, the pods created and deleted that the controller's cache does not show yet."""

    __slots__ = ("_created", "_deleted")

    def __init__(self) -> None:
        self._created: dict[str, set[str]] = {}
        self._deleted: dict[str, set[str]] = {}

    def satisfied(self, owner_uid: str) -> bool:
        """Whether the cache shows all that was done for an owner."""
        return not self._created.get(owner_uid) and not self._deleted.get(owner_uid)

    def create(self, client: Client, owner_uid: str, pod: Pod) -> Pod:
        """Create a pod and expect to see it; errors of the client."""
        made = client.create(pod)
        self._created.setdefault(owner_uid, set()).add(made.metadata.uid)
        return made

    def delete(self, client: Client, owner_uid: str, pod: Pod) -> None:
        """Delete a pod and expect to see that; one that is gone already is no error."""
        try:
            client.delete(Pod, pod.metadata.key)
        except NotFoundError:
            return
        self._deleted.setdefault(owner_uid, set()).add(pod.metadata.uid)

    def seen(self, event: Event) -> None:
        """A change of a pod has arrived in the cache."""
        pod = event.obj
        owner = controller_of(pod)
        if owner is None:
            return
        self._created.get(owner.uid, set()).discard(pod.metadata.uid)
        if event.change is Change.DELETED or pod.metadata.deletion_ns is not None:
            self._deleted.get(owner.uid, set()).discard(pod.metadata.uid)
