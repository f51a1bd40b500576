"""When what changed in a Service's endpoints came about: the annotation from which network programming latency is measured.

Source: kubernetes staging/src/k8s.io/endpointslice/util/trigger_time_tracker.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from svcsim.kube.api.pod import READY, Pod
from svcsim.kube.api.service import Service

TRIGGER_TIME_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"


def pod_trigger_ns(pod: Pod) -> int:
    """When the pod last became Ready or ceased to be, 0 without that condition."""
    condition = pod.status.condition(READY)
    return condition.since_ns if condition is not None else 0


class TriggerTimeTracker:
    """The trigger times of all Services as of their last sync."""

    __slots__ = ("_pods", "_services")

    def __init__(self) -> None:
        self._services: dict[str, int] = {}
        self._pods: dict[str, dict[str, int]] = {}

    def on_sync(self, service: Service, pods: Iterable[Pod]) -> int | None:
        """The earliest time of what has changed since the last sync of this Service (ns), None if that is unknown.

        A Service that is new here counts from its creation.
        """
        key = service.metadata.key
        known = key in self._services
        before = self._pods.get(key, {})
        now = {pod.metadata.name: pod_trigger_ns(pod) for pod in pods}
        changed = [since_ns for name, since_ns in now.items() if since_ns > before.get(name, 0)]
        created_ns = service.metadata.creation_ns
        if created_ns > self._services.get(key, 0):
            changed.append(created_ns)
        self._services[key] = created_ns
        self._pods[key] = now
        if not known:
            return created_ns
        return min(changed, default=None)

    def forget(self, key: str) -> None:
        """The Service `namespace/name` is gone."""
        self._services.pop(key, None)
        self._pods.pop(key, None)


def with_trigger_time(annotations: dict[str, str], trigger: str | None) -> dict[str, str]:
    """Annotations with the trigger time, as text; without one (None) the old one goes."""
    rest = {key: value for key, value in annotations.items() if key != TRIGGER_TIME_ANNOTATION}
    return rest if trigger is None else {**rest, TRIGGER_TIME_ANNOTATION: trigger}
