"""Cases of the kind `endpoints` about the Endpoints controller's loop: batching, stale caches, trigger times."""

from __future__ import annotations

from svcsim.engine.clock import Clock
from svcsim.kube.api.endpoints import Endpoints
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.client import Client, Switchboard
from svcsim.kube.controllers.endpoints import EndpointsController
from svcsim.kube.controllers.subsets import desired_endpoints
from svcsim.kube.controllers.trigger_time import TriggerTimeTracker, with_trigger_time
from svcsim.kube.informer import Informer
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import Event, Object, Store
from svcsim.kube.timings import load_timings
from svcsim.units import MS, S
from tests.conformance.kinds._endpoints_objects import endpoints_of, pod_of, service_of

KEY = "test/foo"


class RecordingClient(Client):
    """A client whose view of Endpoints lags, and that writes down the writes it makes."""

    def __init__(self, board: Switchboard, clock: Clock, lag_ns: int, batch_ns: int) -> None:
        self.timings = load_timings(
            watch_latency_ns=0,
            watch_jitter_ns=0,
            controller_sync_ns=0,
            api_write_ns=0,
            endpoints_batch_period_ns=batch_ns,
        )
        super().__init__(board, clock, "bench", self.timings, 1)
        self.lag_ns = lag_ns
        self.writes: list[tuple[int, str]] = []

    def latency_ns(self, event: Event) -> int:
        return self.lag_ns if isinstance(event.obj, Endpoints) else 0

    def create(self, obj: Object) -> Object:
        self.writes.append((self.clock.now, "create"))
        return super().create(obj)

    def update(self, obj: Object) -> Object:
        self.writes.append((self.clock.now, "update"))
        return super().update(obj)

    def delete(self, model: type[KubeObject], key: str, grace_seconds: int | None = None) -> None:
        self.writes.append((self.clock.now, "delete"))
        super().delete(model, key, grace_seconds)


class Bench:
    """A store, a Service's pods in it, and the controller."""

    def __init__(self, lag_ns: int = 0, batch_ns: int = 0) -> None:
        self.clock = Clock()
        self.store = Store(self.clock)
        self.client = RecordingClient(Switchboard(self.store), self.clock, lag_ns, batch_ns)
        self.informer = Informer(self.client, (Service, Pod, Endpoints))
        self.controller = EndpointsController(self.informer, self.client.timings)

    def verbs(self, since_ns: int = 0) -> list[str]:
        return [verb for at_ns, verb in self.client.writes if at_ns >= since_ns]

    def run_for(self, duration_ns: int) -> None:
        self.clock.run(self.clock.now + duration_ns)

    def set_pod(self, **fields: object) -> None:
        pod = pod_of({"name": "pod0", "ip": "1.2.3.4", **fields})
        if self.store.get(Pod, "test/pod0") is None:
            self.store.create(pod)
        else:
            self.store.update(pod)


def _batching(given: dict, expect: dict, kind: str) -> None:
    bench = Bench(batch_ns=given["endpointUpdatesBatchPeriodMs"] * MS)
    events = given["podEventsAtMs"]
    bench.store.create(service_of({"clusterIP": "10.0.0.10"}))
    if kind != "add":
        for number in range(len(events) if kind == "delete" else 1):
            bench.store.create(pod_of({"name": f"pod{number}", "ip": f"1.2.3.{number + 1}"}))
    bench.controller.resync()
    bench.run_for(100 * MS)
    started_ns = bench.clock.now
    for number, at_ms in enumerate(events):
        bench.clock.run(at_ms * MS)
        if kind == "add":
            bench.store.create(pod_of({"name": f"new{number}", "ip": f"1.2.4.{number + 1}"}))
        elif kind == "delete":
            bench.store.delete(Pod, f"test/pod{number}", 0)
        else:
            bench.set_pod(ip=f"1.2.5.{number + 1}")
    bench.run_for(3 * S)
    assert len(bench.verbs(started_ns)) == expect["writes"], bench.client.writes


def check_updates(given: dict, expect: dict) -> None:
    _batching(given, expect, "update")


def check_adds(given: dict, expect: dict) -> None:
    _batching(given, expect, "add")


def check_deletes(given: dict, expect: dict) -> None:
    _batching(given, expect, "delete")


def check_deletion_event(given: dict, expect: dict) -> None:
    """Endpoints that someone deletes are made again by one sync."""
    assert "deleted" in given["event"]
    bench = Bench()
    bench.store.create(service_of({"clusterIP": "10.0.0.10"}))
    bench.run_for(1 * S)
    before_ns = bench.clock.now
    bench.store.delete(Endpoints, KEY)
    bench.run_for(1 * S)
    assert bench.verbs(before_ns) == ["create"] * expect["queueLength"]


def check_service_changes(given: dict, expect: dict) -> None:
    """Created, deleted and created again before the cache has seen the deletion of the Endpoints."""
    bench = Bench(lag_ns=500 * MS)
    bench.set_pod()
    found: list[list[str]] = []

    def after(action: str, wait_ns: int) -> None:
        began_ns = bench.clock.now
        if action == "add":
            bench.store.create(service_of({"clusterIP": "None"}))
        elif action == "delete":
            bench.store.delete(Service, KEY)
        bench.run_for(wait_ns)
        found.append(bench.verbs(began_ns))

    after("add", 1 * S)
    after("delete", 100 * MS)
    after("add", 100 * MS)
    after("wait", 1 * S)
    wanted = [[] if text.startswith("none") else [text.partition(" ")[0]] for text in expect["requests"]]
    assert found == wanted
    assert len(given["steps"]) == len(found)


def check_pod_changes(given: dict, expect: dict) -> None:
    """Not ready and ready again before the cache has seen the first write."""
    bench = Bench(lag_ns=500 * MS)
    bench.set_pod()
    bench.store.create(service_of({"clusterIP": "10.0.0.10"}))
    bench.run_for(1 * S)
    found: list[list[str]] = []
    for ready, wait_ns in ((False, 100 * MS), (True, 100 * MS), (True, 2 * S)):
        began_ns = bench.clock.now
        bench.set_pod(ready=ready)
        bench.run_for(wait_ns)
        found.append(bench.verbs(began_ns))
    wanted = [[] if text.startswith("none") else [text.partition(" ")[0]] for text in expect["requests"]]
    assert found == wanted
    assert len(given["steps"]) == len(found)


def check_trigger_time(given: dict, expect: dict) -> None:
    """The annotation of a Service's first sync is the time of its creation (T0)."""
    times = {"T0": 1_000_000_000}
    service = service_of({**given["service"], "clusterIP": "10.0.0.10"})
    created_ns = times.get(given["service"].get("creationTimestamp"), 0)
    service = service.model_copy(update={"metadata": service.metadata.model_copy(update={"creation_ns": created_ns})})
    pods = [pod_of(row) for row in given["pods"]]
    trigger_ns = TriggerTimeTracker().on_sync(service, pods)
    written = desired_endpoints(service, pods, None)
    assert written is not None
    assert expect["writes"] == 1
    before = (
        {"endpoints.kubernetes.io/last-change-trigger-time": given["existingAnnotation"]}
        if given.get("existingAnnotation")
        else {}
    )
    names = {at_ns: name for name, at_ns in times.items()}
    annotations = with_trigger_time({**written.metadata.annotations, **before}, names.get(trigger_ns or 0))
    assert annotations == expect["annotations"]


def check_leftovers(given: dict, expect: dict) -> None:
    """Endpoints whose Service went while the controller was away are deleted when it starts."""
    bench = Bench()
    bench.store.load([endpoints_of(given.get("existingEndpoints") or [], None)])
    bench.informer.list_initially()
    bench.controller.resync()
    bench.run_for(1 * S)
    assert bench.verbs() == ["delete"] * expect.get("queueLength", expect.get("writes", 1))


CHECKS = {
    "TestCheckLeftoverEndpoints": check_leftovers,
    "TestPodUpdatesBatching": check_updates,
    "TestPodAddsBatching": check_adds,
    "TestPodDeleteBatching": check_deletes,
    "TestEndpointsDeletionEvents": check_deletion_event,
    "TestMultipleServiceChanges": check_service_changes,
    "TestMultiplePodChanges": check_pod_changes,
    "TestLastTriggerChangeTimeAnnotation": check_trigger_time,
    "TestLastTriggerChangeTimeAnnotation_AnnotationOverridden": check_trigger_time,
    "TestLastTriggerChangeTimeAnnotation_AnnotationCleared": check_trigger_time,
}
