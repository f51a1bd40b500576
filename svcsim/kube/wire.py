"""Objects as the API server sends them: manifests that svcsim, kubectl and people read.

Fields that are empty are left out as Go's `omitempty` does, keys are in alphabetical order as kubectl prints them. Times are
those of the simulation, counted from 2000-01-01T00:00:00Z, at which a run starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.events import ApiEvent
from svcsim.kube.kinds import KubeObject

RUN_BEGINS = datetime(2000, 1, 1, tzinfo=UTC)

# Fields of plain text maps, whose empty values count.
_TEXT_MAPS = {"labels", "annotations", "matchLabels", "nodeSelector", "selector", "capacity", "allocatable"}
# Numbers and truth values that Go writes though they are zero: pointers, and fields without `omitempty`.
_KEPT_ZEROS = {
    "ready", "serving", "terminating", "started", "restartCount", "replicas", "partition", "tolerationSeconds", "maxUnavailable",
    "maxSurge", "minAvailable", "terminationGracePeriodSeconds", "deletionGracePeriodSeconds", "allocateLoadBalancerNodePorts",
    "enableServiceLinks", "revisionHistoryLimit", "exitCode", "currentHealthy", "desiredHealthy", "disruptionsAllowed",
    "expectedPods",
}
_TIMES = {
    "creationNs": "creationTimestamp", "deletionNs": "deletionTimestamp", "sinceNs": "lastTransitionTime", "addedNs": "timeAdded",
    "renewNs": "renewTime", "finishedNs": "finishedAt", "startedNs": "startedAt",
}


def timestamp(at_ns: int) -> str:
    """An instant of the run as the API writes times, in whole seconds.

    >>> timestamp(90_500_000_000)
    '2000-01-01T00:01:30Z'
    """
    return (RUN_BEGINS + timedelta(seconds=at_ns // 1_000_000_000)).strftime("%Y-%m-%dT%H:%M:%SZ")


def manifest_of(obj: KubeObject) -> dict[str, Any]:
    """The object as `kubectl get -o json` prints it."""
    data: dict[str, Any] = _pruned(obj.model_dump(mode="json", by_alias=True, exclude_none=True))
    data.setdefault("metadata", {})
    metadata = data["metadata"]
    metadata["creationTimestamp"] = timestamp(obj.metadata.creation_ns)
    if "resourceVersion" in metadata:
        metadata["resourceVersion"] = str(metadata["resourceVersion"])
    if isinstance(obj, EndpointSlice):
        # The name of a slice's port is a pointer: an empty one is written.
        data["ports"] = [_in_order({"name": port.name or "", **_pruned(port.model_dump(by_alias=True, exclude_none=True))})
                         for port in obj.ports]
        data["endpoints"] = data.get("endpoints", [])
    ordered: dict[str, Any] = _in_order(data)
    return ordered


def event_manifest(event: ApiEvent) -> dict[str, Any]:
    """An event as `kubectl get events -o json` prints it."""
    involved = event.involved
    source = {"component": event.component, **({"host": event.host} if event.host else {})}
    return {
        "apiVersion": "v1", "count": event.count, "firstTimestamp": timestamp(event.first_ns),
        "involvedObject": _in_order(_pruned({
            "apiVersion": involved.api_version, "kind": involved.kind, "name": involved.name, "namespace": involved.namespace,
            "uid": involved.uid,
        })),
        "kind": "Event", "lastTimestamp": timestamp(event.last_ns), "message": event.message,
        "metadata": {"creationTimestamp": timestamp(event.first_ns), "name": event.name, "namespace": event.namespace},
        "reason": event.reason, "reportingComponent": event.component, "source": source, "type": event.type,
    }


def list_of(items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Manifests as a List."""
    return {"apiVersion": "v1", "items": list(items), "kind": "List", "metadata": {"resourceVersion": ""}}


def _pruned(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        if key in _TEXT_MAPS and all(isinstance(item, str | int | float) for item in value.values()):
            return value
        found: dict[str, Any] = {}
        for name, item in value.items():
            if name in _TIMES:
                if item or name == "deletionNs":
                    found[_TIMES[name]] = timestamp(item)
                continue
            cleaned = _pruned(item, name)
            if cleaned not in (None, "", [], {}) and (cleaned or name in _KEPT_ZEROS):
                found[name] = cleaned
            elif name == "running" and item is not None:
                found[name] = {}
        return found
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_in_order(item) for item in value]
    return value
