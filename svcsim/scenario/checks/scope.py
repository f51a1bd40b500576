"""What checks of a scenario ask: which objects, pods, nodes and hosts there are, and whether a target is among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from svcsim.errors import InputError, Problem
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.kinds import KubeObject
from svcsim.scenario.faults import Apply, Fault, Scale
from svcsim.scenario.model import Scenario
from svcsim.scenario.places import Places
from svcsim.scenario.target import Target
from svcsim.spelling import nearest
from svcsim.yamlsource import DataPath

CLUSTER_DNS = "kube-system/kube-dns"
"""The Service that every cluster has, whose pods svcsim adds. There is no API server behind default/kubernetes."""
NAMED = 5
"""So many names a note lists."""
BOTH_FAMILIES = "(kubernetes.serviceCIDR: 10.96.0.0/12,fd00:10:96::/112 gives a cluster both)"
Owner = Deployment | ReplicaSet | StatefulSet | ReplicationController | DaemonSet


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is, for quick questions: objects by kind and name, pods and templates of pods by label."""

    by_kind: dict[str, dict[str, KubeObject]]
    by_label: dict[tuple[str, str, str], list[dict[str, str]]]
    pods: list[tuple[str, dict[str, str]]]

    @classmethod
    def of(cls, objects: Iterable[KubeObject]) -> Inventory:
        """The inventory of some objects."""
        found = cls({}, {}, [])
        for obj in objects:
            found.by_kind.setdefault(obj.kind.lower(), {})[obj.metadata.key] = obj
            if isinstance(obj, Owner) or obj.kind == "Pod":
                labels = obj.spec.template.metadata.labels if isinstance(obj, Owner) else obj.metadata.labels
                found.pods.append((obj.metadata.namespace, labels))
                for key, value in labels.items():
                    found.by_label.setdefault((obj.metadata.namespace, key, value), []).append(labels)
        return found

    def has_pod(self, namespace: str, labels: Iterable[tuple[str, str]]) -> bool:
        """Whether a pod, or what a controller makes pods from, has all of these labels (at least one)."""
        (key, value), *rest = labels
        candidates = self.by_label.get((namespace, key, value), ())
        return any(all(found.get(name) == wanted for name, wanted in rest) for found in candidates)


@dataclass(slots=True)
class Scope:
    """A scenario as its checks see it: what there is, where it is written, and the notes so far.

    Unless all manifests could be read (`all_read`), what names an object that is not there is no mistake of its own.
    """

    scenario: Scenario
    places: Places
    notes: list[str]
    there: Inventory
    all_read: bool = True

    def of_kind(self, kind: str) -> dict[str, KubeObject]:
        """Objects of a kind, in small letters, by namespace and name."""
        return self.there.by_kind.get(kind, {})

    def applied(self) -> set[tuple[str, str]]:
        """(kind, namespace/name) of what faults create later."""
        found = set()
        for fault in self.scenario.faults:
            found |= {(obj.kind.lower(), obj.metadata.key) for obj in self.objects_of(fault)}
        return found

    def objects_of(self, fault: Fault) -> list[KubeObject]:
        """What a fault applies."""
        try:
            return fault.parsed() if isinstance(fault, Apply) else []
        except InputError:
            return []  # told where the manifests were read

    def text(self, fault: Fault) -> str:
        """A fault in a few words."""
        return fault.verb if isinstance(fault, Apply) else fault.text

    @property
    def outside(self) -> list[str]:
        """The names of the hosts outside."""
        return [host.name for host in self.scenario.cluster.outside]

    def owners(self) -> list[Owner]:
        """What makes pods."""
        return [obj for obj in self.scenario.objects if isinstance(obj, Owner)]

    def exists(self, target: Target, path: DataPath, fault: Fault | None = None) -> Iterator[Problem]:
        """Whether an object exists, and the index of its pod."""
        objects = self.of_kind(target.kind)
        owner = objects.get(target.key)
        if owner is None:
            if not self.all_read:
                return
            if (target.kind, target.key) in self.applied() or self.made_later(target):
                return
            added = {f"{made['metadata']['namespace']}/{made['metadata']['name']}" for made in self.scenario.origin.added}
            names = [key.removeprefix("default/") for key in objects if key not in added]
            wanted = target.name if target.namespace == "default" else target.key
            yield self.places.problem(path, unknown(target.kind, wanted, names))
        elif isinstance(owner, Deployment | StatefulSet | ReplicaSet | ReplicationController) and target.index is not None:
            scaled = any(isinstance(other, Scale) and other.scale.name == target.name for other in self.scenario.faults)
            if target.index >= owner.replicas and not scaled:
                message = f"{target.kind}/{target.name} has {owner.replicas} pods, [0] to [{owner.replicas - 1}]"
                yield self.places.problem(path, message if owner.replicas else f"{target.kind}/{target.name} has no pods")

    def made_later(self, target: Target) -> bool:
        """Whether a controller makes the object, so that it can't be known yet: a pod, a ReplicaSet, a slice."""
        if target.kind == "pod":
            return any(
                target.namespace == owner.metadata.namespace and target.name.startswith(f"{owner.metadata.name}-")
                for owner in self.owners()
            )
        return target.kind in {"endpoints", "endpointslice", "replicaset"}

    def target(
        self, target: Target, path: DataPath, node_names: tuple[str, ...] | None, fault: Fault | None = None
    ) -> Iterator[Problem]:
        """Whether what a fault or a link aims at is there."""
        if target.labels:
            if target.kind == "pod" and not self.there.has_pod(target.namespace, target.labels):
                yield self.places.problem(path, f"no pod of namespace {target.namespace} has these labels")
            return
        if target.name == "*":
            return
        if target.kind == "node":
            if node_names is not None and target.name not in node_names:
                yield self.places.problem(path, unknown("node", target.name, node_names))
        elif target.kind == "zone":
            zones = self.zones()
            if target.name not in zones:
                yield self.places.problem(path, unknown("zone", target.name, zones))
        elif target.kind == "outside":
            if target.name not in self.outside:
                yield self.places.problem(path, unknown("host outside", target.name, self.outside, "cluster.outside"))
        else:
            yield from self.exists(target, path, fault)

    def zones(self) -> list[str]:
        """The zones that nodes are in."""
        zones = {node.zone: None for node in self.scenario.nodes if node.zone}
        zones |= {obj.zone: None for obj in self.scenario.objects if obj.kind == "Node" and obj.zone}
        return list(zones)


def unknown(what: str, name: str, valid: Iterable[str], where: str = "") -> str:
    """That there is no such thing of this name, with the nearest name that there is."""
    return f"there is no {what} {name!r}{nearest(name, valid)}" + (f" under {where}" if where else "")
