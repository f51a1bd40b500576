"""Kubernetes objects from manifests: what a person writes, what `kubectl get -o yaml` prints, and lists of both.

Objects of kinds that bear on Services become typed values; other kinds are counted and left out. In Service, Endpoints,
EndpointSlice and Ingress an unknown field is a mistake with its place; elsewhere what svcsim does not need is ignored, unless it
is nearly the name of a field of a workload that counts. What only an API server writes (status text, versions, managed fields)
does not matter. A null is an unset field, as for the API server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from svcsim.errors import InputError, Problem
from svcsim.kube.api.base import Strict
from svcsim.kube.api.service import Service
from svcsim.kube.kinds import KINDS, Kind, KubeObject, has_no_bearing, identity, kind_of, known_kinds
from svcsim.kube.validation.field_errors import FieldError
from svcsim.kube.validation.manifests import manifest_path, service_errors
from svcsim.kube.validation.objects import object_errors
from svcsim.spelling import nearest
from svcsim.validation import plain_kind, validated
from svcsim.yamlsource import DataPath, Document, load, parse

DEFAULT_NAMESPACE = "default"
MAX_OBJECTS = 200_000

# Fields that the API once had and that published manifests still carry.
_RETIRED: Mapping[str, Mapping[str, str]] = {
    "Service": {
        "topologyKeys": "removed in 1.22", "ipFamily": "removed in 1.20", "deprecatedPublicIPs": "removed in 1.0",
        "portalIP": "removed in 1.0",
    },
}


@dataclass(slots=True)
class Manifests:
    """Objects in the order in which they stand, and what was left out."""

    objects: list[KubeObject] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)
    """File and line of each object."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Kinds without a bearing on Services."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Kinds that are not known here, as `apiVersion kind`."""
    remarks: list[str] = field(default_factory=list)
    spots: list[tuple[Document, DataPath]] = field(default_factory=list)
    """Document and path of each object, for mistakes within it; only while a scenario is being read."""

    def notes(self) -> list[str]:
        """What a reader should know of what was left out, a sentence each."""
        notes = list(dict.fromkeys(self.remarks))
        if self.left_out:
            notes.append(f"left out, without bearing on Services: {_counted(self.left_out)}")
        if self.unknown:
            notes.append(f"left out, of kinds that svcsim does not know: {_counted(self.unknown)}")
        return notes

    def settle(self) -> None:
        """Let the later of two objects with the same name stand for both, as `kubectl apply` does, and remark on it."""
        last = {identity(obj): i for i, obj in enumerate(self.objects) if obj.metadata.name}
        kept = [i for i, obj in enumerate(self.objects) if last.get(identity(obj), i) == i]
        for i in range(len(self.objects)):
            kind, key = identity(self.objects[i])
            if last.get((kind, key), i) != i:
                later, earlier = _at(self.places[last[(kind, key)]]), _at(self.places[i])
                self.remarks.append(f"{kind} {key} stands twice: the one in {later} replaces {earlier}")
        self.objects = [self.objects[i] for i in kept]
        self.places = [self.places[i] for i in kept]
        if self.spots:
            self.spots = [self.spots[i] for i in kept]


def load_manifests(path: str | Path) -> Manifests:
    """The objects of a file. InputError with every mistake; UsageError if it can't be read."""
    return read_documents(load(path))


def parse_manifests(text: str, name: str = "<manifest>") -> Manifests:
    """The objects of a text."""
    return read_documents(parse(text, name))


def read_documents(documents: Iterable[Document]) -> Manifests:
    """The objects of documents. InputError with every mistake in them."""
    manifests, problems = Manifests(), []
    for document in documents:
        problems += read_object(manifests, document.root, document)
    if problems:
        raise InputError(problems)
    manifests.settle()
    return manifests


def read_object(manifests: Manifests, data: object, document: Document, at: DataPath = ()) -> list[Problem]:
    """Add the object (or list of objects) at a path of a document; returns the mistakes in it."""
    if not isinstance(data, dict):
        return [document.problem(at, f"a Kubernetes object is expected here, not {plain_kind(data)}")]
    problems = [
        document.problem((*at, key) if key in data else at, f"{key!r} is missing" if key not in data else
                         f"a string is expected, not {plain_kind(data[key])}")
        for key in ("apiVersion", "kind")
        if not isinstance(data.get(key), str) or not data[key]
    ]
    if problems:
        return problems
    api_version, kind_name = data["apiVersion"], data["kind"]
    if is_list(data):
        return [problem for item, path in items_of(data, at) for problem in read_object(manifests, item, document, path)]
    kind = kind_of(api_version, kind_name)
    if kind is None:
        return _not_read(manifests, api_version, kind_name, document, at)
    return _read_one(manifests, kind, data, document, at)


def is_list(data: object) -> bool:
    """Whether a manifest is a List of others, or a typed list such as the API server returns."""
    if not isinstance(data, dict) or not isinstance(data.get("apiVersion"), str) or not isinstance(data.get("kind"), str):
        return False
    return bool(data["apiVersion"]) and data["kind"].endswith("List") and isinstance(data.get("items", []), list | None)


def items_of(data: dict[str, Any], at: DataPath = ()) -> Iterator[tuple[object, DataPath]]:
    """The manifests in a list, each with its path; items of a typed list do not repeat what they are and get it here."""
    item_kind = data["kind"].removesuffix("List")
    for i, item in enumerate(data.get("items") or []):
        if item_kind and isinstance(item, dict) and "kind" not in item:
            item = {"apiVersion": data["apiVersion"], "kind": item_kind, **item}
        yield item, (*at, "items", i)


def _not_read(
    manifests: Manifests, api_version: str, kind_name: str, document: Document, at: DataPath
) -> list[Problem]:
    if has_no_bearing(api_version, kind_name):
        manifests.left_out[kind_name] += 1
        return []
    group = api_version.rpartition("/")[0]
    versions = [
        version
        for kind in KINDS
        if kind.name == kind_name
        for version in kind.api_versions
        if version.rpartition("/")[0] == group or "/" not in api_version
    ]
    if versions:
        message = f"there is no {api_version!r} of {kind_name} (valid: {', '.join(versions)})"
        return [document.problem((*at, "apiVersion"), message)]
    names = {name.lower() for name in known_kinds()}
    close = nearest(kind_name, known_kinds(), listed=0)
    if close and kind_name.lower() not in names and not group.count("."):
        return [document.problem((*at, "kind"), f"unknown kind {kind_name!r}{close}")]
    manifests.unknown[f"{api_version} {kind_name}"] += 1
    return []


def _read_one(
    manifests: Manifests, kind: Kind, data: dict[str, Any], document: Document, at: DataPath
) -> list[Problem]:
    cleaned = _without_nulls(data)
    metadata = cleaned.get("metadata")
    unknown: list[Problem] = []
    if isinstance(metadata, dict):
        unknown = _unknown_metadata(kind, metadata, document, (*at, "metadata"))
        metadata = {key: value for key, value in metadata.items() if key not in _API_SERVERS_OWN}
        if kind.namespaced:
            metadata.setdefault("namespace", DEFAULT_NAMESPACE)
        cleaned["metadata"] = metadata
        if not metadata.get("name") and not metadata.get("generateName"):
            return [document.problem((*at, "metadata"), "'name' is missing")]
        if kind.name == "Pod" and data["metadata"].get("deletionTimestamp"):
            manifests.remarks.append("left out: pods that were already terminating")
            return []
    unknown += _misspelt(kind, cleaned.get("spec"), document, (*at, "spec"))
    cleaned = _current_form(manifests, kind, cleaned)
    model, problems = validated(kind.model, cleaned, document, at)
    problems = unknown + problems
    if model is not None:
        errors = service_errors(model) if isinstance(model, Service) else object_errors(model)
        problems += [_at_its_place(error, data, document, at) for error in errors]
    if model is not None:
        manifests.objects.append(model)
        manifests.places.append((document.name, document.position(at)[0]))
        manifests.spots.append((document, at))
        if len(manifests.objects) > MAX_OBJECTS:
            problems = [document.problem(at, f"more than {MAX_OBJECTS} objects")]
    return problems


def _unknown_metadata(kind: Kind, metadata: dict[str, Any], document: Document, at: DataPath) -> list[Problem]:
    """Fields that no ObjectMeta has, of the kinds in which that is a mistake."""
    if not issubclass(kind.model, Strict):
        return []
    return [
        document.problem((*at, name), f"unknown field {name!r}{nearest(name, _METADATA, listed=14)}", at_key=True)
        for name in metadata
        if name not in _METADATA
    ]


_WORKLOADS = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"})
_NEARLY_ANOTHER = frozenset({"templateGeneration"})
"""Fields of a workload's API that only look like one that is read here."""


def _misspelt(kind: Kind, spec: object, document: Document, at: DataPath) -> list[Problem]:
    """Fields in the spec of a workload that are nearly one that is read: what it says would silently not hold."""
    if kind.name not in _WORKLOADS or not isinstance(spec, dict):
        return []
    model = kind.model.model_fields["spec"].annotation
    fields = [field.alias or name for name, field in model.model_fields.items()] if model is not None else []
    hints = {name: nearest(name, fields, listed=0) for name in spec if name not in fields and name not in _NEARLY_ANOTHER}
    return [
        document.problem((*at, name), f"unknown field {name!r}{hint}", at_key=True) for name, hint in hints.items() if hint
    ]


def _at_its_place(error: FieldError, data: dict[str, Any], document: Document, at: DataPath) -> Problem:
    """An error with the API's field path, at the line of what was written: `clusterIP` where that stands for `clusterIPs`."""
    path = manifest_path(error.field)
    told = document.problem((*at, *path), error.message)
    spec = data.get("spec")
    if path[:2] == ("spec", "clusterIPs") and isinstance(spec, dict) and "clusterIPs" not in spec and "clusterIP" in spec:
        written = document.problem((*at, "spec", "clusterIP"), error.message)
        return replace(told, line=written.line, column=written.column)
    return told


_API_SERVERS_OWN = frozenset({"resourceVersion", "managedFields", "selfLink", "creationTimestamp", "generation"})
_METADATA = _API_SERVERS_OWN | {
    "name", "generateName", "namespace", "labels", "annotations", "uid", "ownerReferences", "finalizers", "deletionTimestamp",
    "deletionGracePeriodSeconds", "clusterName", "initializers",
}
"""The fields of ObjectMeta, of which the last two are no more (apimachinery pkg/apis/meta/v1/types.go)."""


def _current_form(manifests: Manifests, kind: Kind, data: dict[str, Any]) -> dict[str, Any]:
    """The object without fields that its API has given up."""
    if kind.name == "Service":
        data = _with_annotated_fields(data)
    spec = data.get("spec")
    retired = _RETIRED.get(kind.name, {})
    if isinstance(spec, dict) and not retired.keys().isdisjoint(spec):
        manifests.remarks += [f"ignored: {kind.name} spec.{name} ({retired[name]})" for name in spec if name in retired]
        return {**data, "spec": {key: value for key, value in spec.items() if key not in retired}}
    if data["apiVersion"] == "discovery.k8s.io/v1beta1" and isinstance(data.get("endpoints"), list):
        return {**data, "endpoints": [_current_endpoint(endpoint) for endpoint in data["endpoints"]]}
    return data


def _with_annotated_fields(data: dict[str, Any]) -> dict[str, Any]:
    """A Service with the fields that annotations stood for before there were fields; a field that is given wins."""
    annotations, spec = data.get("metadata", {}).get("annotations"), data.get("spec")
    if not isinstance(annotations, dict) or not isinstance(spec, dict):
        return data
    found: dict[str, Any] = {}
    if annotations.get("service.beta.kubernetes.io/external-traffic") == "OnlyLocal":
        found["externalTrafficPolicy"] = "Local"
    if annotations.get("service.alpha.kubernetes.io/tolerate-unready-endpoints") == "true":
        found["publishNotReadyAddresses"] = True
    ranges = annotations.get("service.beta.kubernetes.io/load-balancer-source-ranges")
    if isinstance(ranges, str) and ranges.strip() and spec.get("type") == "LoadBalancer":
        found["loadBalancerSourceRanges"] = [block.strip() for block in ranges.split(",")]
    return {**data, "spec": {**found, **spec}} if found else data


def _current_endpoint(endpoint: object) -> object:
    """An endpoint of discovery.k8s.io/v1beta1, whose node and zone stand in `topology`, as v1 has it."""
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("topology"), dict):
        return endpoint
    topology = endpoint["topology"]
    rest = {key: value for key, value in endpoint.items() if key != "topology"}
    node, zone = topology.get("kubernetes.io/hostname"), topology.get("topology.kubernetes.io/zone")
    return {**({"nodeName": node} if node else {}), **({"zone": zone} if zone else {}), **rest}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _at(place: tuple[str, int]) -> str:
    return f"{place[0]}:{place[1]}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
