"""The workload kinds of apps/v1 and ReplicationController: how many copies of a pod there are to be, and how they change.

Source: staging/src/k8s.io/api/apps/v1/types.go, core/v1/types.go; the beta versions of `apps` and `extensions` have the same
fields as far as they are read here, with a selector that defaults to the template's labels.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from svcsim.kube.api.base import LabelSelector, Lenient, ObjectMeta, StrMap
from svcsim.kube.api.pod import PodTemplate

IntOrPercent = int | str
POD_TEMPLATE_HASH_LABEL = "pod-template-hash"


class _Selecting(Lenient):
    """A specification with a template and a selector, which defaults to the template's labels."""

    selector: LabelSelector | None = None
    template: PodTemplate = Field(default_factory=PodTemplate)
    min_ready_seconds: int = 0

    @property
    def pod_selector(self) -> LabelSelector:
        """The selector of its pods."""
        return self.selector or LabelSelector(match_labels=dict(self.template.metadata.labels))


class RollingUpdate(Lenient):
    """How far a roll-out may go beyond and below the number of replicas; a number or a percentage of it."""

    max_surge: IntOrPercent | None = None
    max_unavailable: IntOrPercent | None = None
    partition: int | None = None


class DeploymentStrategy(Lenient):
    """RollingUpdate (25 % and 25 % unless given) or Recreate."""

    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(_Selecting):
    """What a Deployment is meant to be; unset `replicas` is 1."""

    replicas: int | None = None
    strategy: DeploymentStrategy = Field(default_factory=DeploymentStrategy)
    paused: bool = False
    revision_history_limit: int | None = None


class ReplicaStatus(Lenient):
    """The counts that a workload's controller keeps."""

    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    updated_replicas: int = 0
    unavailable_replicas: int = 0


class Deployment(Lenient):
    """A Deployment."""

    api_version: str = "apps/v1"
    kind: Literal["Deployment"] = "Deployment"
    metadata: ObjectMeta
    spec: DeploymentSpec = Field(default_factory=DeploymentSpec)
    status: ReplicaStatus = Field(default_factory=ReplicaStatus)

    @property
    def replicas(self) -> int:
        """The number of copies asked for."""
        return 1 if self.spec.replicas is None else self.spec.replicas


class ReplicaSetSpec(_Selecting):
    """What a ReplicaSet is meant to be; unset `replicas` is 1."""

    replicas: int | None = None


class ReplicaSet(Lenient):
    """A ReplicaSet."""

    api_version: str = "apps/v1"
    kind: Literal["ReplicaSet"] = "ReplicaSet"
    metadata: ObjectMeta
    spec: ReplicaSetSpec = Field(default_factory=ReplicaSetSpec)
    status: ReplicaStatus = Field(default_factory=ReplicaStatus)

    @property
    def replicas(self) -> int:
        """The number of copies asked for."""
        return 1 if self.spec.replicas is None else self.spec.replicas


class ReplicationControllerSpec(Lenient):
    """What a ReplicationController is meant to be; its selector is a plain map."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: StrMap = Field(default_factory=dict)
    template: PodTemplate = Field(default_factory=PodTemplate)

    @property
    def pod_selector(self) -> LabelSelector:
        """The selector of its pods."""
        return LabelSelector(match_labels=dict(self.selector or self.template.metadata.labels))


class ReplicationController(Lenient):
    """A ReplicationController."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["ReplicationController"] = "ReplicationController"
    metadata: ObjectMeta
    spec: ReplicationControllerSpec = Field(default_factory=ReplicationControllerSpec)
    status: ReplicaStatus = Field(default_factory=ReplicaStatus)

    @property
    def replicas(self) -> int:
        """The number of copies asked for."""
        return 1 if self.spec.replicas is None else self.spec.replicas


class StatefulSetUpdateStrategy(Lenient):
    """RollingUpdate or OnDelete."""

    type: Literal["RollingUpdate", "OnDelete"] = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class StatefulSetOrdinals(Lenient):
    """With which number a set's pods begin (1.31)."""

    start: int = 0


class StatefulSetSpec(_Selecting):
    """What a StatefulSet is meant to be; unset `replicas` is 1."""

    replicas: int | None = None
    service_name: str = ""
    pod_management_policy: Literal["OrderedReady", "Parallel"] = "OrderedReady"
    update_strategy: StatefulSetUpdateStrategy = Field(default_factory=StatefulSetUpdateStrategy)
    ordinals: StatefulSetOrdinals = Field(default_factory=StatefulSetOrdinals)


class StatefulSet(Lenient):
    """A StatefulSet."""

    api_version: str = "apps/v1"
    kind: Literal["StatefulSet"] = "StatefulSet"
    metadata: ObjectMeta
    spec: StatefulSetSpec = Field(default_factory=StatefulSetSpec)
    status: ReplicaStatus = Field(default_factory=ReplicaStatus)

    @property
    def replicas(self) -> int:
        """The number of copies asked for."""
        return 1 if self.spec.replicas is None else self.spec.replicas

    @property
    def ordinals(self) -> range:
        """The numbers of its pods."""
        return range(self.spec.ordinals.start, self.spec.ordinals.start + self.replicas)


class DaemonSetUpdateStrategy(Lenient):
    """RollingUpdate (one unavailable unless given) or OnDelete."""

    type: Literal["RollingUpdate", "OnDelete"] = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DaemonSetSpec(_Selecting):
    """What a DaemonSet is meant to be."""

    update_strategy: DaemonSetUpdateStrategy = Field(default_factory=DaemonSetUpdateStrategy)


class DaemonSet(Lenient):
    """A DaemonSet."""

    api_version: str = "apps/v1"
    kind: Literal["DaemonSet"] = "DaemonSet"
    metadata: ObjectMeta
    spec: DaemonSetSpec = Field(default_factory=DaemonSetSpec)
