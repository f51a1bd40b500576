"""The set-ups in which figures were measured elsewhere, as small scenarios: one point is one run.

Several Services share the pods that answer, and clients call each of them, so that the runs see Services all over the list and
not one of them at a place that chance gave it. The other Services have hand-made endpoints, which cost rules and no pods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from svcsim.grounding import failures
from svcsim.scenario.loader import loads
from svcsim.scenario.model import Scenario
from svcsim.yamldump import dump

Setup = Literal["harness", "packet", "web", "saturated", "flood", "stream", "sync", "failure"]

CALLED = 100
"""Services that clients call, where there are so many."""
CALLED_BY_MANY = 32
"""The same where users don't wait for each other."""
CALLED_KEPT = 4
"""The same where connections are kept: each then carries some hundred requests."""
USERS = 64
"""Users of a saturated server, as fortio's connections in the test of 2026."""
GAP_MS = {"harness": 1, "packet": 1, "web": 5}
"""Between two requests, so that none meets another."""
LONG_LIST = 20_000
"""Services beyond which a walk of the kernel of 2017 takes longer than that."""
MOST_PODS_IPV4 = 250
SYNC_S = 400
"""Long enough for the slowest full sync."""
RUN_MS = {"web": 2000, "saturated": 400, "flood": 100, "stream": 8000}
WARMUP_MS = {"saturated": 100, "flood": 20}


@dataclass(frozen=True, slots=True)
class Point:
    """One simulated set-up.

    - `harness`: client and server in one process beside a node (netns): two pods of one node, no wake-ups, one byte each way
    - `packet`: two pods of one node
    - `web`: client and server on two nodes, requests one after the other
    - `saturated`: the same with more users than the server can keep up with: four workers, as many as cores
    - `flood`: the same over UDP with nodes of one core that the users keep busy
    - `stream`: two pods of one node, long answers one after the other
    - `sync`: one node and no traffic; one Service changes, and later kube-proxy starts anew and writes everything
    - `failure`: a `case` of `svcsim.grounding.failures`; `count` is what it varies
    """

    setup: Setup
    profile: str
    mode: str
    services: int = 1
    endpoints: int = 1
    udp: bool = False
    keepalive: bool = False
    served_us: float = 1.0
    """Time in the server: what the source's own server and network take beyond what svcsim prices."""
    size: str = "1KiB"
    """Of an answer."""
    rtt_us: int = 200
    """Of the network between the two nodes."""
    masquerade: bool = False
    """Whether what is sent to a Service is masqueraded, as from outside the cluster."""
    case: str = ""
    count: int = 0

    @property
    def called(self) -> int:
        """How many Services clients call."""
        many = self.setup in {"saturated", "flood"}
        return min(CALLED_BY_MANY if many else CALLED_KEPT if self.keepalive else CALLED, self.services)

    @property
    def gap_ms(self) -> int:
        """The time between two requests of an open loop, longer than any takes."""
        return GAP_MS[self.setup] * (2 if self.services > LONG_LIST and self.setup == "web" else 1)

    @property
    def run_ms(self) -> int:
        """How long the run is."""
        return RUN_MS.get(self.setup, 1000)


def scenario_of(point: Point) -> Scenario:
    """The scenario of a point."""
    return loads(dump(document_of(point)), f"{point.setup}.yaml")


def document_of(point: Point) -> dict[str, Any]:
    """The scenario's file as data."""
    if point.setup == "failure":
        return failures.document_of(point.case, point.mode, point.profile, point.count)
    if point.setup == "sync":
        return _sync(point)
    two_nodes = point.setup in {"web", "saturated", "flood"}
    calibration: dict[str, Any] = {"profile": point.profile}
    if point.setup == "harness":
        calibration["overrides"] = {"sockets.wakeup": 0}
    document: dict[str, Any] = {
        "apiVersion": "svcsim/v1",
        "kind": "Scenario",
        "metadata": {"name": point.setup},
        "kubernetes": _kubernetes(point),
        "cluster": {
            "nodes": {"count": 2 if two_nodes else 1, "cores": 1 if point.setup == "flood" else 4, "maxPods": 1000},
            "network": {"rtt": f"{point.rtt_us}us"},
        },
        "calibration": calibration,
        "manifests": [
            _deployment("client", 1, "worker-1"),
            _deployment("web", point.endpoints, "worker-2" if two_nodes else "worker-1"),
            *(_service(number, point) for number in range(point.called)),
        ],
        "workloads": [_workload(number, point) for number in range(point.called)],
        "servers": [{
            "match": {"app": "web"}, "serviceTime": f"{point.served_us}us",
            "workers": 4 if point.setup == "saturated" else 64,
        }],
        "run": {"duration": f"{point.run_ms}ms", "warmup": f"{WARMUP_MS.get(point.setup, 0)}ms"},
    }
    if point.services > point.called:
        document["services"] = {"count": point.services - point.called, "protocol": "UDP" if point.udp else "TCP"}
    return document


def _kubernetes(point: Point) -> dict[str, Any]:
    proxy: Any = point.mode
    if point.masquerade:
        mode, _, backend = point.mode.partition("/")
        proxy = {"mode": mode, "masqueradeAll": True} | ({"backend": backend} if backend else {})
    # A node has addresses for 254 pods in IPv4; in IPv6, which costs the same, for all of them.
    return {"proxy": proxy} | ({"serviceCIDR": "fd00:10:96::/112"} if point.endpoints > MOST_PODS_IPV4 else {})


def _sync(point: Point) -> dict[str, Any]:
    document: dict[str, Any] = {
        "apiVersion": "svcsim/v1",
        "kind": "Scenario",
        "metadata": {"name": point.setup},
        "kubernetes": _kubernetes(point),
        "cluster": {"nodes": {"count": 1}},
        "calibration": {"profile": point.profile},
        "manifests": [_deployment("web", 1, "worker-1"), _service(0, point)],
        "workloads": [],
        "faults": [
            {"at": "1s", "scale": "deployment/web", "replicas": 2},
            {"at": "20s", "stopProxy": "node/*", "for": "1s"},
        ],
        "run": {"duration": f"{SYNC_S}s", "warmup": "0s"},
    }
    if point.services > 1:
        document["services"] = {"count": point.services - 1}
    return document


def _deployment(name: str, replicas: int, node: str) -> dict[str, Any]:
    container = {"name": name, "image": f"example/{name}:1"}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"nodeName": node, "containers": [container]}},
        },
    }


def _service(number: int, point: Point) -> dict[str, Any]:
    port = {"protocol": "UDP" if point.udp else "TCP", "port": 80}
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": f"web-{number}"},
        "spec": {"selector": {"app": "web"}, "ports": [port]},
    }


def _workload(number: int, point: Point) -> dict[str, Any]:
    address = f"web-{number}.default.svc:80"
    workload: dict[str, Any] = {
        "name": f"load-{number}", "from": "deployment/client", "to": f"{'udp' if point.udp else 'http'}://{address}",
        "connections": "keepalive" if point.keepalive else "new", "resolve": "never", "response": point.size,
    }
    if point.setup in {"saturated", "flood"}:
        users, more = divmod(USERS, point.called)
        workload["arrivals"] = {"closed": {"users": users + (number < more), "think": "0s"}}
    elif point.setup == "stream":
        workload["arrivals"] = {"closed": {"users": 1, "think": "0s"}}
    else:
        # The clients of one Service after those of the other.
        workload["arrivals"] = {"constant": f"{1000 / point.gap_ms}/s"}
        turns = (("start", number), ("stop", number + 1))
        workload |= {key: f"{point.run_ms * turn // point.called}ms" for key, turn in turns}
    if point.setup == "harness":
        workload |= {"request": "1B", "response": "1B"}
    return workload
