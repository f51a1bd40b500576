"""A small cluster for end-to-end statements: three nodes, three web pods, a client pod a node; a run and what is seen of it.

Pods and clients are placed by name, so that statements can speak of «the pod on worker-2»: web[i] and client[i] are on
worker-(i+1). Clients know the Service's address (`resolve: never`), so that no DNS takes part unless a test wants it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import svcsim
from svcsim.engine.journal import Happening
from svcsim.results.records import Flag, Outcome
from svcsim.results.result import Result
from svcsim.scenario.model import Scenario
from svcsim.units import S

ALL_MODES = ("userspace", "iptables", "ipvs/rr", "nftables")
KERNEL_MODES = ("iptables", "ipvs/rr", "nftables")

SMALL = """
apiVersion: svcsim/v1
kind: Scenario
metadata: {name: small}
cluster:
  nodes: {count: 3, zones: [a, b, c]}
manifests:
  - apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      selector: {app: web}
      ports: [{name: http, port: 80, targetPort: 8080}]
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
            - name: web
              image: example/web:1
              ports: [{name: http, containerPort: 8080}]
              readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 2}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: client}
    spec:
      replicas: 3
      selector: {matchLabels: {app: client}}
      template:
        metadata: {labels: {app: client}}
        spec:
          containers: [{name: client, image: example/client:1}]
workloads:
  - name: load
    from: {deployment: client}
    to: http://web.default.svc:80
    arrivals: {constant: 100/s}
    connections: {keepalive: false}
    resolve: never
    timeout: 1s
servers:
  - {match: {app: web}, serviceTime: {constant: 1ms}}
run: {duration: 20s, warmup: 0s, seed: 1}
"""


def small(*faults: dict[str, Any], mode: str = "iptables", text: str = SMALL, **settings: Any) -> Scenario:
    """The small cluster in a mode with faults; `settings` are paths with `__` for a dot, as `run__duration="5s"`."""
    overrides: dict[str, Any] = {"kubernetes.proxy": mode}
    if faults:
        overrides["faults"] = list(faults)
    overrides.update({path.replace("__", "."): value for path, value in settings.items()})
    return svcsim.loads(text, overrides)


def with_pods(**template: Any) -> dict[str, Any]:
    """Settings that change the pods of `deployment/web`: `with_pods(terminationGracePeriodSeconds=1)`."""
    return {f"manifests[deployment/web].spec.template.spec.{name.replace('__', '.')}": value for name, value in template.items()}


def see(*faults: dict[str, Any], mode: str = "iptables", text: str = SMALL, **settings: Any) -> Seen:
    """Run the small cluster and look at it."""
    return Seen(svcsim.run_one(small(*faults, mode=mode, text=text, **settings)))


class Seen:
    """What a run left, in words: times are seconds since its start."""

    def __init__(self, result: Result) -> None:
        self.result = result

    # ---- requests ----------------------------------------------------------------------------------------------------

    def between(self, start_s: float, end_s: float, workload: str | None = None) -> Any:
        """The requests whose intended send lies in a window."""
        everything = self.result.everything if workload is None else self.result.everything.of_workload(workload)
        return everything.during(round(start_s * S), round(end_s * S))

    def outcomes(self, start_s: float = 0.0, end_s: float = 1e6, workload: str | None = None) -> dict[Outcome, int]:
        """How the requests sent in a window ended."""
        return self.between(start_s, end_s, workload).outcomes

    def failed(self, start_s: float = 0.0, end_s: float = 1e6, workload: str | None = None) -> int:
        """How many of the requests sent in a window failed."""
        return self.between(start_s, end_s, workload).failures

    def failures_ns(self, start_s: float = 0.0, end_s: float = 1e6) -> list[float]:
        """When the failed requests were sent, in seconds."""
        requests = self.between(start_s, end_s).requests
        return [start / S for start in sorted(requests.start_ns[requests.failed].tolist())]

    def answered(self, start_s: float = 0.0, end_s: float = 1e6, workload: str | None = None) -> Counter[str]:
        """Answers by pod, of requests sent in a window; pods without one are left out."""
        by_pod = self.between(start_s, end_s, workload).answered_by()
        return Counter({pod: count for pod, count in by_pod.items() if count})

    def flagged(self, flag: Flag, start_s: float = 0.0, end_s: float = 1e6) -> int:
        """How many of the requests sent in a window have a flag."""
        return int(((self.between(start_s, end_s).requests.flags & int(flag)) != 0).sum())

    # ---- the journal -------------------------------------------------------------------------------------------------

    def times(self, what: Happening, subject: str | None = None, after: float = 0.0, **detail: Any) -> list[float]:
        """When something happened, in seconds, from `after` on."""
        return [
            entry.at_ns / S
            for entry in self.result.journal.entries
            if entry.kind is what and entry.at_ns >= after * S and subject in (None, entry.subject)
            and all(entry.detail.get(key) == value for key, value in detail.items())
        ]

    def first(self, what: Happening, subject: str | None = None, after: float = 0.0, **detail: Any) -> float:
        """When it happened first; fails where it did not."""
        times = self.times(what, subject, after, **detail)
        assert times, f"{what} of {subject or 'anything'} after {after} s did not happen"
        return times[0]

    def notes(self) -> list[str]:
        """The sentences in the journal."""
        return [entry.subject for entry in self.result.journal.entries if entry.kind is Happening.NOTE]

    def pods_of_fault(self, index: int = 0) -> tuple[str, ...]:
        """The pods that a fault was aimed at."""
        return self._begin(index).detail["pods"]  # type: ignore[no-any-return]

    def nodes_of_fault(self, index: int = 0) -> tuple[str, ...]:
        """The nodes that a fault was aimed at."""
        return self._begin(index).detail["nodes"]  # type: ignore[no-any-return]

    def _begin(self, index: int) -> Any:
        return next(
            entry for entry in self.result.journal.entries
            if entry.kind is Happening.FAULT_BEGIN and entry.detail["index"] == index
        )

    def synced_after(self, at_s: float) -> float:
        """When the last of the nodes had its first sync from `at_s` on."""
        first: dict[str, float] = {}
        for entry in self.result.journal.entries:
            if entry.kind is Happening.PROXY_SYNCED and entry.at_ns >= at_s * S and entry.subject not in first:
                first[entry.subject] = entry.at_ns / S
        assert first, "no node synced"
        return max(first.values())
