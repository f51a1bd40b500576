"""A cluster with a fake data plane, for tests of the control plane: processes end when told to, probes answer as told to."""

from __future__ import annotations

from svcsim.engine.clock import Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.api.workloads import Deployment
from svcsim.kube.cluster import ControlPlane, NodeSpec
from svcsim.kube.timings import load_timings
from svcsim.units import MS, S


class FakeRuntime:
    """Processes that take `drain_ns` to end after SIGTERM (None: they never do)."""

    def __init__(self, clock, exited):
        self.clock = clock
        self.exited = exited
        self.drain_ns = 0
        self.calls = []
        self.running = {}

    def _note(self, what, pod):
        self.calls.append((self.clock.now, what, pod.metadata.key))

    def start(self, pod):
        assert pod.status.pod_ip or pod.spec.host_network
        self._note("start", pod)
        self.running[pod.metadata.key] = pod

    def terminate(self, pod):
        self._note("terminate", pod)
        if self.drain_ns is not None:
            self.clock.after(self.drain_ns, lambda: self.exited(pod))

    def kill(self, pod):
        self._note("kill", pod)
        self.running.pop(pod.metadata.key, None)

    def remove(self, pod):
        self._note("remove", pod)
        self.running.pop(pod.metadata.key, None)

    def times(self, what, key=None):
        return [at for at, called, of in self.calls if called == what and key in (None, of)]


class FakeProber:
    """Answers after 1 ms: success unless the pod (or pod and kind of action) is in `failing`."""

    def __init__(self, clock):
        self.clock = clock
        self.failing = set()
        self.calls = []

    def probe(self, pod, probe, port, on_result):
        action = "http" if probe.http_get else "tcp" if probe.tcp_socket else "exec"
        key = pod.metadata.key
        self.calls.append((self.clock.now, key, action, port))
        good = not self.failing & {key, (key, action)}
        self.clock.after(MS, lambda: on_result(good, "" if good else "refused"))


def deployment(name="web", replicas=3, container=None, strategy=None, **pod_spec):
    labels = {"app": name}
    spec = {"containers": [{"name": "c", "ports": [{"containerPort": 8080}], **(container or {})}], **pod_spec}
    return Deployment.model_validate(
        {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "strategy": strategy or {},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }
    )


def service(name="web", **spec):
    ports = [{"port": 80, "targetPort": 8080}]
    return Service.model_validate(
        {"metadata": {"name": name, "namespace": "default"}, "spec": {"selector": {"app": name}, "ports": ports, **spec}}
    )


class SmallCluster:
    """A control plane of a few nodes that has started."""

    def __init__(self, objects=(), nodes=3, zones=("a", "b", "c"), settled=True, seed=1, block="", **timings):
        self.clock = Clock()
        self.journal = Journal()
        self.timings = load_timings(**timings)
        made = [
            NodeSpec(f"n{i + 1}", f"192.168.0.{10 + i}", block or f"10.244.{i}.0/24", zone=zones[i % len(zones)] if zones else "")
            for i in range(nodes)
        ]
        self.plane = ControlPlane(self.clock, self.journal, self.timings, seed, nodes=made)
        self.store = self.plane.store
        self.runtime = FakeRuntime(self.clock, lambda pod: self.plane.kubelet(pod.spec.node_name).exited(pod.metadata.key, 0))
        self.prober = FakeProber(self.clock)
        self.plane.settle(objects, self.runtime, self.prober, settled=settled)

    def run(self, until_s):
        self.clock.run(round(until_s * S))
        return self

    def at(self, at_s, action):
        self.clock.after(round(at_s * S) - self.clock.now, action)

    def pods(self, name="web"):
        return [pod for pod in self.store.each(Pod) if pod.metadata.labels.get("app") == name]

    def ready_pods(self, name="web"):
        return [pod for pod in self.pods(name) if pod.is_ready and not pod.is_terminating]

    def endpoints(self, name="web"):
        """(ready, all) addresses of a Service's slices."""
        ends = [
            end for piece in self.store.each(EndpointSlice) if piece.service_key == f"default/{name}" for end in piece.endpoints
        ]
        return sum(end.conditions.ready for end in ends), len(ends)

    def entries(self, *happenings, subject=None):
        return [e for e in self.journal.entries if e.kind in happenings and subject in (None, e.subject)]

    def first(self, happening, subject=None, after_s=0.0):
        return next(
            entry.at_ns for entry in self.journal.entries
            if entry.kind is happening and subject in (None, entry.subject) and entry.at_ns >= after_s * S
        )

    def change(self, obj, **spec):
        current = self.store.require(type(obj), obj.metadata.key)
        self.store.update(current.model_copy(update={"spec": current.spec.model_copy(update=spec)}))

    def roll(self, name="web"):
        current = self.store.require(Deployment, f"default/{name}")
        template = current.spec.template
        metadata = template.metadata.model_copy(update={"annotations": {"restartedAt": str(self.clock.now)}})
        self.change(current, template=template.model_copy(update={"metadata": metadata}))


__all__ = ["FakeProber", "FakeRuntime", "Happening", "SmallCluster", "deployment", "service"]
