"""Node, core/v1, and Lease, coordination.k8s.io/v1: the machines, and the sign of life that each kubelet renews.

Sources: staging/src/k8s.io/api/core/v1/types.go, coordination/v1/types.go.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from svcsim.kube.api.base import Lenient, NoneAsEmpty, ObjectMeta, StrMap

HOSTNAME_LABEL = "kubernetes.io/hostname"
ZONE_LABEL = "topology.kubernetes.io/zone"
OLD_ZONE_LABEL = "failure-domain.beta.kubernetes.io/zone"
NOT_READY_TAINT = "node.kubernetes.io/not-ready"
UNREACHABLE_TAINT = "node.kubernetes.io/unreachable"


def well_known_labels(name: str, zone: str = "") -> dict[str, str]:
    """The labels that a kubelet gives its node, the old names among them.

    Source: pkg/kubelet/kubelet_node_status.go (initialNode), component-helpers node/util (LabelOS, LabelArch).
    """
    labels = {HOSTNAME_LABEL: name}
    for prefix in ("kubernetes.io", "beta.kubernetes.io"):
        labels |= {f"{prefix}/os": "linux", f"{prefix}/arch": "amd64"}
    return labels | ({ZONE_LABEL: zone} if zone else {})


class Taint(Lenient):
    """What keeps pods without a toleration off a node; `added_ns` is when it was set (NoExecute)."""

    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"
    added_ns: int = 0


class NodeSpec(Lenient):
    """What a node is meant to be."""

    pod_cidr: str = Field(default="", alias="podCIDR")
    pod_cidrs: Annotated[tuple[str, ...], NoneAsEmpty] = Field(default=(), alias="podCIDRs")
    provider_id: str = Field(default="", alias="providerID")
    taints: Annotated[tuple[Taint, ...], NoneAsEmpty] = ()
    unschedulable: bool = False


class NodeCondition(Lenient):
    """One condition; `since_ns` is when its status last changed (simulated nanoseconds)."""

    type: str
    status: Literal["True", "False", "Unknown"] = "Unknown"
    reason: str = ""
    since_ns: int = 0


class NodeAddress(Lenient):
    """One address of a node."""

    type: str
    address: str


class NodeSystemInfo(Lenient):
    """What a node's kubelet says of its machine."""

    kernel_version: str = ""


class NodeStatus(Lenient):
    """How a node is. Quantities keep their text (`4`, `3920m`)."""

    conditions: Annotated[tuple[NodeCondition, ...], NoneAsEmpty] = ()
    addresses: Annotated[tuple[NodeAddress, ...], NoneAsEmpty] = ()
    capacity: dict[str, str | int | float] = Field(default_factory=dict)
    allocatable: dict[str, str | int | float] = Field(default_factory=dict)
    node_info: NodeSystemInfo = NodeSystemInfo()


class Node(Lenient):
    """A node of the cluster."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Node"] = "Node"
    metadata: ObjectMeta
    spec: NodeSpec = Field(default_factory=NodeSpec)
    status: NodeStatus = Field(default_factory=NodeStatus)

    @property
    def is_ready(self) -> bool:
        """Whether the Ready condition is True; a node without one (hand-written) counts as ready."""
        ready = [condition.status for condition in self.status.conditions if condition.type == "Ready"]
        return not ready or ready[0] == "True"

    @property
    def zone(self) -> str:
        """The node's zone by its well-known label, empty without."""
        labels: StrMap = self.metadata.labels
        return labels.get(ZONE_LABEL, "") or labels.get(OLD_ZONE_LABEL, "")

    @property
    def internal_ips(self) -> tuple[str, ...]:
        """Its InternalIP addresses, the primary one first."""
        return tuple(address.address for address in self.status.addresses if address.type == "InternalIP")

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """The blocks its pods' addresses come from."""
        return self.spec.pod_cidrs or ((self.spec.pod_cidr,) if self.spec.pod_cidr else ())


class LeaseSpec(Lenient):
    """Who holds a lease and since when it has been renewed (simulated nanoseconds)."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_ns: int = 0


class Lease(Lenient):
    """A lease."""

    api_version: Literal["coordination.k8s.io/v1"] = "coordination.k8s.io/v1"
    kind: Literal["Lease"] = "Lease"
    metadata: ObjectMeta
    spec: LeaseSpec = Field(default_factory=LeaseSpec)
