"""The trigger time of a Service's endpoints is the earliest of what has changed since the last sync."""

from __future__ import annotations

from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.trigger_time import TriggerTimeTracker, with_trigger_time


def service(created_ns: int) -> Service:
    return Service.model_validate({"metadata": {"name": "web", "namespace": "d", "creationNs": created_ns}})


def pod(name: str, since_ns: int) -> Pod:
    condition = {"type": "Ready", "status": "True", "sinceNs": since_ns}
    return Pod.model_validate({"metadata": {"name": name, "namespace": "d"}, "status": {"conditions": [condition]}})


def test_a_new_service_counts_from_its_creation() -> None:
    assert TriggerTimeTracker().on_sync(service(5), [pod("a", 3)]) == 5


def test_later_syncs_count_from_the_earliest_change() -> None:
    tracker = TriggerTimeTracker()
    tracker.on_sync(service(5), [pod("a", 6), pod("b", 6)])
    assert tracker.on_sync(service(5), [pod("a", 9), pod("b", 8)]) == 8
    assert tracker.on_sync(service(5), [pod("a", 9), pod("b", 8)]) is None
    assert tracker.on_sync(service(5), [pod("a", 9)]) is None


def test_a_service_that_was_forgotten_is_new_again() -> None:
    tracker = TriggerTimeTracker()
    tracker.on_sync(service(5), [])
    tracker.forget("d/web")
    assert tracker.on_sync(service(7), []) == 7


def test_a_sync_without_a_known_time_takes_the_annotation_away() -> None:
    annotated = with_trigger_time({"a": "b"}, "T0")
    assert with_trigger_time(annotated, None) == {"a": "b"}
