"""Which API kinds there are: what each (apiVersion, kind) is read as, and which ones have no bearing on Services.

>>> kind_of("apps/v1", "Deployment").model.__name__
'Deployment'
>>> has_no_bearing("v1", "ConfigMap")
True
"""

from __future__ import annotations

from dataclasses import dataclass

from svcsim.kube.api.disruption import PodDisruptionBudget
from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.ingress import Ingress, IngressClass
from svcsim.kube.api.node import Lease, Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet

KubeObject = (
    Service | Endpoints | EndpointSlice | Pod | Node | Lease | Deployment | ReplicaSet | ReplicationController | StatefulSet
    | DaemonSet | Ingress | IngressClass | PodDisruptionBudget
)
"""An object of a kind that svcsim reads."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How objects of a kind are read: their model, their spellings and whether they live in a namespace."""

    name: str
    plural: str
    model: type[KubeObject]
    api_versions: tuple[str, ...]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()


_APPS = ("apps/v1", "apps/v1beta2", "apps/v1beta1", "extensions/v1beta1")

KINDS: tuple[Kind, ...] = (
    Kind("Service", "services", Service, ("v1",), short_names=("svc",)),
    Kind("Endpoints", "endpoints", Endpoints, ("v1",), short_names=("ep",)),
    Kind("EndpointSlice", "endpointslices", EndpointSlice, ("discovery.k8s.io/v1", "discovery.k8s.io/v1beta1")),
    Kind("Pod", "pods", Pod, ("v1",), short_names=("po",)),
    Kind("Node", "nodes", Node, ("v1",), namespaced=False, short_names=("no",)),
    Kind("Lease", "leases", Lease, ("coordination.k8s.io/v1",)),
    Kind("Deployment", "deployments", Deployment, _APPS, short_names=("deploy",)),
    Kind("ReplicaSet", "replicasets", ReplicaSet, _APPS, short_names=("rs",)),
    Kind("StatefulSet", "statefulsets", StatefulSet, _APPS, short_names=("sts",)),
    Kind("DaemonSet", "daemonsets", DaemonSet, _APPS, short_names=("ds",)),
    Kind("ReplicationController", "replicationcontrollers", ReplicationController, ("v1",), short_names=("rc",)),
    Kind(
        "Ingress", "ingresses", Ingress, ("networking.k8s.io/v1", "networking.k8s.io/v1beta1", "extensions/v1beta1"),
        short_names=("ing",),
    ),
    Kind("IngressClass", "ingressclasses", IngressClass, ("networking.k8s.io/v1", "networking.k8s.io/v1beta1"), namespaced=False),
    Kind(
        "PodDisruptionBudget", "poddisruptionbudgets", PodDisruptionBudget, ("policy/v1", "policy/v1beta1"), short_names=("pdb",)
    ),
)

_BY_VERSION = {(version, kind.name): kind for kind in KINDS for version in kind.api_versions}
_BY_NAME = {name: kind for kind in KINDS for name in (kind.name.lower(), kind.plural, *kind.short_names)}

# Kinds without a bearing on Services, by API group (without its version).
_NO_BEARING: dict[str, tuple[str, ...]] = {
    "": (
        "ConfigMap", "Secret", "ServiceAccount", "Namespace", "PersistentVolume", "PersistentVolumeClaim", "LimitRange",
        "ResourceQuota", "Event", "PodTemplate", "ComponentStatus", "Binding",
    ),
    "apps": ("ControllerRevision",),
    "batch": ("Job", "CronJob"),
    "autoscaling": ("HorizontalPodAutoscaler",),
    "autoscaling.k8s.io": ("VerticalPodAutoscaler",),
    "policy": ("PodSecurityPolicy",),
    "extensions": ("NetworkPolicy", "PodSecurityPolicy"),
    "networking.k8s.io": ("NetworkPolicy", "IPAddress", "ServiceCIDR"),
    "rbac.authorization.k8s.io": ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    "apiextensions.k8s.io": ("CustomResourceDefinition",),
    "apiregistration.k8s.io": ("APIService",),
    "admissionregistration.k8s.io": (
        "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ),
    "storage.k8s.io": ("StorageClass", "VolumeAttachment", "CSIDriver", "CSINode", "CSIStorageCapacity"),
    "scheduling.k8s.io": ("PriorityClass",),
    "node.k8s.io": ("RuntimeClass",),
    "certificates.k8s.io": ("CertificateSigningRequest",),
    "events.k8s.io": ("Event",),
    "flowcontrol.apiserver.k8s.io": ("FlowSchema", "PriorityLevelConfiguration"),
    "metrics.k8s.io": ("NodeMetrics", "PodMetrics"),
}
_NO_BEARING_NAMES = {(group, name) for group, names in _NO_BEARING.items() for name in names}
_KNOWN_GROUPS = frozenset(_NO_BEARING) | {"discovery.k8s.io", "coordination.k8s.io"}


def kind_of(api_version: str, kind: str) -> Kind | None:
    """How objects of this apiVersion and kind are read; None if svcsim does not read them."""
    return _BY_VERSION.get((api_version, kind))


def kind_named(name: str) -> Kind | None:
    """The kind that a person names: `deployment`, `deployments`, `deploy`."""
    return _BY_NAME.get(name.lower())


def has_no_bearing(api_version: str, kind: str) -> bool:
    """Whether a kind is known to have no bearing on Services: accepted, counted, left out.

    Kinds of groups that Kubernetes does not own (custom resources: `networking.istio.io/v1 Gateway`) are among them.
    """
    group = api_version.partition("/")[0] if "/" in api_version else ""
    return (group, kind) in _NO_BEARING_NAMES or ("." in group and group not in _KNOWN_GROUPS)


def known_kinds() -> tuple[str, ...]:
    """The names of all kinds that a manifest may have, for the nearest one to a misspelt name."""
    return tuple(dict.fromkeys([kind.name for kind in KINDS] + [name for names in _NO_BEARING.values() for name in names]))


def identity(obj: KubeObject) -> tuple[str, str]:
    """(kind, namespace/name) of an object."""
    return obj.kind, obj.metadata.key
