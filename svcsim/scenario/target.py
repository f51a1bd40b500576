"""What a fault or a workload is aimed at: `deployment/web[1]`, `pod/web-0`, `node/worker-2`, `{labels: {app: web}}`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from svcsim.spelling import nearest
from svcsim.validation import plain_kind

POD_OWNERS = ("deployment", "daemonset", "statefulset", "replicaset", "replicationcontroller")
"""Kinds whose pods are meant where a pod is."""
KINDS = (*POD_OWNERS, "pod", "node", "zone", "outside", "service", "endpoints", "endpointslice", "ingress")
_SHORT = {
    "deploy": "deployment", "ds": "daemonset", "sts": "statefulset", "rs": "replicaset", "rc": "replicationcontroller",
    "po": "pod", "no": "node", "svc": "service", "ep": "endpoints", "ing": "ingress",
}
_TEXT = re.compile(r"([A-Za-z]+)/(?:([a-z0-9][-a-z0-9.]*)/)?([A-Za-z0-9][-A-Za-z0-9._]*|\*)(?:\[(\d{1,6}|\*)\])?")


@dataclass(frozen=True, slots=True)
class Target:
    """One thing, or the pods that labels select.

    `index` counts a controller's pods in the order of their creation, from 0; None means all of them. A kind without a name
    (`name` is `*`) is all of that kind.
    """

    kind: str
    name: str = ""
    namespace: str = "default"
    index: int | None = None
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def is_pods(self) -> bool:
        """Whether pods are meant."""
        return self.kind == "pod" or self.kind in POD_OWNERS

    @property
    def is_nodes(self) -> bool:
        """Whether nodes are meant."""
        return self.kind in {"node", "zone"}

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        if self.labels:
            chosen = ",".join(f"{key}={value}" for key, value in self.labels)
            return f"{self.kind}s with {chosen}"
        name = self.name if self.namespace == "default" else self.key
        return f"{self.kind}/{name}" + ("" if self.index is None else f"[{self.index}]")


def parse_target(value: Any) -> Target:
    """The target that a string or a mapping with `labels` names; ValueError says what would be right.

    >>> str(parse_target("deploy/shop/web[1]"))
    'deployment/shop/web[1]'
    """
    if isinstance(value, Target):
        return value
    if isinstance(value, dict):
        return _selected(value)
    if not isinstance(value, str):
        raise ValueError(f"a target is expected, as 'deployment/web[1]' or 'node/worker-2', not {plain_kind(value)}")
    match = _TEXT.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"not a target: {plain_kind(value)} (write 'deployment/web[1]', 'pod/web-0' or 'node/worker-2')")
    kind, namespace, name, index = match.groups()
    kind = _SHORT.get(kind.lower(), kind.lower())
    if kind not in KINDS and kind.removesuffix("s") in KINDS:
        kind = kind.removesuffix("s")
    if kind not in KINDS:
        raise ValueError(f"unknown kind {match.group(1)!r} in {plain_kind(value)}{nearest(kind, KINDS, listed=0)}")
    if index is not None and kind not in POD_OWNERS:
        raise ValueError(f"an index chooses one of a controller's pods; {kind} has none")
    return Target(kind, name, namespace or "default", None if index in {None, "*"} else int(index))


def _selected(value: dict[str, Any]) -> Target:
    unknown = [key for key in value if key not in {"labels", "namespace", "kind"}]
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r} of a target (valid: labels, namespace, kind)")
    labels, namespace, kind = value.get("labels"), value.get("namespace", "default"), value.get("kind", "pod")
    if not isinstance(labels, dict) or not labels or not all(isinstance(label, str) for label in labels.values()):
        raise ValueError("a target by labels needs at least one label, as {labels: {app: web}}, each a string")
    if kind not in {"pod", "node"} or not isinstance(namespace, str):
        raise ValueError("labels choose pods or nodes (kind: pod, kind: node)")
    return Target(kind, "*", namespace, None, tuple(labels.items()))


def target_data(target: Target) -> object:
    """A target as it is written."""
    if not target.labels:
        return str(target)
    data: dict[str, object] = {"labels": dict(target.labels)}
    if target.kind != "pod":
        data["kind"] = target.kind
    if target.namespace != "default":
        data["namespace"] = target.namespace
    return data


def _parse_several(value: Any) -> tuple[Target, ...]:
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("at least one target is expected")
        return tuple(parse_target(item) for item in value)
    return (parse_target(value),)


def _several_data(targets: tuple[Target, ...]) -> object:
    return target_data(targets[0]) if len(targets) == 1 else [target_data(target) for target in targets]


_SELECTOR_SCHEMA = {
    "type": "object", "required": ["labels"], "additionalProperties": False,
    "properties": {
        "labels": {"type": "object", "additionalProperties": {"type": "string"}}, "namespace": {"type": "string"},
        "kind": {"enum": ["pod", "node"]},
    },
}
_ONE_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^[A-Za-z]+/.+$", "examples": ["deployment/web[1]", "pod/web-0", "node/worker-2"]},
        _SELECTOR_SCHEMA,
    ]
}

Targets = Annotated[
    tuple[Target, ...], BeforeValidator(_parse_several), PlainSerializer(_several_data),
    WithJsonSchema({"anyOf": [*_ONE_SCHEMA["anyOf"], {"type": "array", "items": _ONE_SCHEMA, "minItems": 1}]}),
]
"""One target or a list of them."""
OneTarget = Annotated[Target, BeforeValidator(parse_target), PlainSerializer(target_data), WithJsonSchema(_ONE_SCHEMA)]
"""One target."""
