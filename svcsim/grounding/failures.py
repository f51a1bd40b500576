"""The failures of netns, section 8, as small scenarios: what was done there to namespaces is done here to pods and nodes.

Clients are on worker-1, pods on worker-2, but where the path itself is timed: there all is on one node and nobody sleeps. The
requests that count are those of the workload `measured`, and of those the ones sent after the warm-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Document = dict[str, Any]

CLIENT_NODE, POD_NODE = "worker-1", "worker-2"


def document_of(case: str, mode: str, profile: str, count: int) -> Document:
    """The scenario of a case as data; `count` is what the case varies. KeyError if there is no such case."""
    document = CASES[case](count)
    document["kubernetes"] = {"proxy": mode, **document.get("kubernetes", {})}
    document["calibration"] = {"profile": profile, **document.get("calibration", {})}
    return {"apiVersion": "svcsim/v1", "kind": "Scenario", "metadata": {"name": case}, **document}


# ---- what the cases are made of ---------------------------------------------------------------------------------------------


def _pods(name: str, replicas: int, node: str, *, port: int = 8080, protocol: str = "TCP") -> Document:
    """A StatefulSet, so that pods have names to speak of; they are asked each second whether they are ready."""
    probe = {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 1}
    container = {
        "name": name, "image": f"example/{name}:1", "readinessProbe": probe,
        "ports": [{"containerPort": port, "protocol": protocol}],
    }
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "serviceName": name, "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}}, "spec": {"nodeName": node, "containers": [container]},
            },
        },
    }


def _further(name: str) -> Document:
    """One more pod behind the Service, on a third node."""
    pods = _pods(name, 1, "worker-3")
    spec = pods["spec"]
    spec["selector"]["matchLabels"] = spec["template"]["metadata"]["labels"] = {"app": "web", "set": name}
    return pods


def _service(name: str = "web", *, protocol: str = "TCP", **spec: Any) -> Document:
    ports = [{"port": 80, "targetPort": 8080, "protocol": protocol}]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def _client() -> Document:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"},
        "spec": {"nodeName": CLIENT_NODE, "containers": [{"name": "client", "image": "example/client:1"}]},
    }


def _asking(
    arrivals: Any, *, to: str = "http://web.default.svc:80", connections: str = "new", timeout: str = "1s", **more: Any
) -> Document:
    return {
        "name": "measured", "from": {"pod": "client"}, "to": to, "arrivals": arrivals, "connections": connections,
        "timeout": timeout, "resolve": "never", "request": "1B", "response": "1B", **more,
    }


def _run(
    workloads: list[Document], pods: list[Document], *, seconds: float, warmup: float = 0.0, faults: list[Document] | None = None,
    network: Document | None = None, nodes: int = 2, harness: bool = False, protocol: str = "TCP", **spec: Any,
) -> Document:
    document: Document = {
        "cluster": {"nodes": {"count": nodes, "maxPods": 1000}, "network": {"rtt": "20us", **(network or {})}},
        "manifests": [_service(protocol=protocol, **spec), *pods],
        "workloads": workloads,
        "servers": [{"match": {"app": "web"}, "serviceTime": "1us", "workers": 64}],
        "faults": faults or [],
        "run": {"duration": f"{seconds:g}s", "warmup": f"{warmup:g}s"},
    }
    if harness:
        document["calibration"] = {"overrides": {"sockets.wakeup": 0}}
    return document


_EACH_SECOND = {"constant": "1/s"}
_AT_ONCE = {"closed": {"users": 1, "think": "0s"}}


# ---- connections that stand ---------------------------------------------------------------------------------------------------


def _established(count: int) -> Document:
    """8 a: a connection to the only pod; a second one comes, and the first leaves the endpoints but lives."""
    return _run(
        [_asking(_EACH_SECOND, connections="keepalive")], [_pods("web", 1, POD_NODE), _client()], seconds=25, warmup=15,
        faults=[
            {"at": "3s", "scale": "statefulset/web", "replicas": 2},
            {"at": "8s", "failReadiness": "pod/web-0"},
        ],
    )


def _reset(count: int) -> Document:
    """8 a': the pod is killed while a request is with it; its kernel answers."""
    document = _run(
        [_asking({"trace": {"times": [1.0]}}, connections="keepalive", timeout="30s")],
        [_pods("web", 1, POD_NODE), _client()], seconds=5, faults=[{"at": "2s", "kill": "pod/web-0"}],
    )
    document["servers"] = [{"match": {"app": "web"}, "serviceTime": "10s"}]
    return document


def _vanished(count: int) -> Document:
    """8 a'': the pod's host is silent; the one request is given 60 s."""
    return _run(
        [_asking({"trace": {"times": [1.0, 6.0]}}, connections="keepalive", timeout="60s")],
        [_pods("web", 1, POD_NODE), _client()], seconds=70, warmup=5, faults=[{"at": "5s", "partition": f"node/{POD_NODE}"}],
    )


# ---- new connections ----------------------------------------------------------------------------------------------------------


def _removed(count: int) -> Document:
    """8 b: 300 new connections after one of two pods has left the endpoints."""
    return _run(
        [_asking({"constant": "100/s"}, start="5s")], [_pods("web", 2, POD_NODE), _client()], seconds=8.005, warmup=5,
        faults=[{"at": "1s", "failReadiness": "pod/web-0"}],
    )


def _closed(count: int) -> Document:
    """8 c1: the port is closed, and the rules still lead there."""
    return _run(
        [_asking({"constant": "100/s"})], [_pods("web", 1, CLIENT_NODE), _client()], seconds=2, warmup=1.2, nodes=1, harness=True,
        faults=[{"at": "0.5s", "stopProxy": "node/*"}, {"at": "1s", "closePort": "pod/web-0"}],
    )


def _missing(cni: str) -> Callable[[int], Document]:
    """8 c2 and c3: the pod is gone, and the rules still lead to its address."""
    def document(count: int) -> Document:
        return _run(
            [_asking(_AT_ONCE, timeout="10s", start="5s")], [_pods("web", 1, POD_NODE), _client()], seconds=6, warmup=5,
            network={"cni": cni},
            faults=[{"at": "0.5s", "stopProxy": "node/*"}, {"at": "1s", "delete": "pod/web-0", "grace": "0s"}],
        )

    return document


def _silent(count: int) -> Document:
    """8 c4: nothing comes back, and the client's program waits for its kernel."""
    return _run(
        [_asking({"trace": {"times": [2.0]}}, timeout="200s")], [_pods("web", 1, POD_NODE), _client()], seconds=3,
        faults=[{"at": "0.5s", "stopProxy": "node/*"}, {"at": "1s", "partition": f"node/{POD_NODE}"}],
    )


def _in_flight(count: int) -> Document:
    """8 c5: the SYN goes to a silent pod; while it is sent again and again, the Service's rules come to lead to another pod."""
    return _run(
        [
            _asking({"trace": {"times": [2.0]}}, timeout="120s"),
            _asking(_EACH_SECOND, timeout="500ms") | {"name": "others", "start": "70s"},
        ],
        [_pods("web", 1, POD_NODE), _further("spare"), _client()], seconds=80, nodes=3,
        faults=[
            {"at": "0s", "failReadiness": "pod/spare-0", "for": "10s"},
            {"at": "1.5s", "partition": f"node/{POD_NODE}"},
        ],
    )


# ---- UDP ----------------------------------------------------------------------------------------------------------------------


def _udp(connections: str) -> Callable[[int], Document]:
    """8 d: datagrams of one socket, or each of a new one, to a Service of which one pod leaves the endpoints."""
    def document(count: int) -> Document:
        return _run(
            [_asking(_EACH_SECOND, to="udp://web.default.svc:80", connections=connections)],
            [_pods("web", 1, POD_NODE, protocol="UDP"), _client()], seconds=40, warmup=20, protocol="UDP",
            faults=[
                {"at": "2s", "scale": "statefulset/web", "replicas": 2},
                {"at": "5s", "failReadiness": "pod/web-0"},
            ],
        )

    return document


# ---- no endpoints, no Service -------------------------------------------------------------------------------------------------


def _empty(protocol: str, arrivals: Any, *, to: str = "", seconds: float = 10) -> Callable[[int], Document]:
    """8 e: a Service without a pod."""
    def document(count: int) -> Document:
        scheme = "udp" if protocol == "UDP" else "http"
        return _run(
            [_asking(arrivals, to=to or f"{scheme}://web.default.svc:80", timeout="10s")],
            [_client()], seconds=seconds, nodes=1, harness=True, protocol=protocol, clusterIP="10.96.0.100",
        )

    return document


def _wrong(to: str) -> Callable[[int], Document]:
    """8 e'': a port that the Service does not have, and an address that no Service has."""
    def document(count: int) -> Document:
        return _run(
            [_asking({"constant": "2/s"}, to=to)], [_pods("web", 1, POD_NODE), _client()], seconds=2, clusterIP="10.96.0.100"
        )

    return document


# ---- session affinity ---------------------------------------------------------------------------------------------------------


def _affinity(
    times: Callable[[int, int], list[float]], clients: int = 0, pods: int = 4, timeout_s: int = 4
) -> Callable[[int], Document]:
    """8 f: clients of an affine Service, each with connections at its own times; the case varies the gap in ms, or the clients.

    All are on one node, which has addresses for 254 pods in IPv4; more of them have IPv6.
    """
    def document(count: int) -> Document:
        at = [times(client, count) for client in range(clients or count)]
        document = _run(
            [
                _asking({"trace": {"times": each}}) | {"name": f"client-{client}", "from": {"pod": f"client-{client}"}}
                for client, each in enumerate(at)
            ],
            [_pods("web", pods, POD_NODE), _pods("client", len(at), CLIENT_NODE)], seconds=at[-1][-1] + 0.5,
            sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": timeout_s}},
        )
        if len(at) > 250:
            document["kubernetes"] = {"serviceCIDR": "fd00:10:96::/112"}
        return document

    return document


def _twice(client: int, gap_ms: int) -> list[float]:
    return [1 + client / 1000, 1 + client / 1000 + gap_ms / 1000]


def _sliding(client: int, gap_ms: int) -> list[float]:
    return [1 + client / 1000 + turn * gap_ms / 1000 for turn in range(5)]


def _by_turns(client: int, clients: int) -> list[float]:
    return [1 + client / 1000, 2 + client / 1000]


# ---- the userspace proxy ------------------------------------------------------------------------------------------------------


def _dials(count: int) -> Document:
    """8 h: the proxy dials; `count` of its endpoints are silent, one is not, unless there are four."""
    manifests = [_pods("web", count, POD_NODE), _client()]
    if count < 4:
        manifests.append(_further("live"))
    return _run(
        [_asking({"constant": "0.2/s"}, timeout="10s", start="2s")], manifests, seconds=32, warmup=2, nodes=3,
        faults=[{"at": "1s", "partition": f"node/{POD_NODE}"}],
    )


def _refusing(count: int) -> Document:
    """8 h: `count` endpoints refuse, one answers, unless there are four."""
    live = 0 if count == 4 else 1
    return _run(
        [_asking({"constant": "10/s"}, start="2s")], [_pods("web", count + live, POD_NODE), _client()], seconds=4, warmup=2,
        faults=[{"at": "0.5s", "apiServer": "down"}, *({"at": "1s", "closePort": f"pod/web-{i}"} for i in range(count))],
    )


def _proxied(count: int) -> Document:
    """8 h': a request is with its pod; then (`count` 0) the pod leaves the endpoints, or (1) the proxy exits."""
    fault = {"at": "5s", "stopProxy": "node/*"} if count else {"at": "5s", "failReadiness": "pod/web-0"}
    document = _run(
        [_asking({"trace": {"times": [4.5]}}, timeout="30s")], [_pods("web", 1, POD_NODE), _client()], seconds=10, faults=[fault]
    )
    document["servers"] = [{"match": {"app": "web"}, "serviceTime": "10s"}]
    return document


CASES: dict[str, Callable[[int], Document]] = {
    "established": _established,
    "reset": _reset,
    "vanished": _vanished,
    "removed": _removed,
    "closed-port": _closed,
    "missing-routed": _missing("routed"),
    "missing-bridge": _missing("bridge"),
    "silent": _silent,
    "in-flight": _in_flight,
    "udp": _udp("keepalive"),
    "udp-new-socket": _udp("new"),
    "empty": _empty("TCP", {"constant": "1/s"}),
    "empty-udp": _empty("UDP", {"constant": "1/s"}),
    "empty-at-once": _empty("TCP", _AT_ONCE),
    "wrong-port": _wrong("http://10.96.0.100:81"),
    "unallocated": _wrong("http://10.96.0.200:80"),
    "affinity": _affinity(_twice, clients=60),
    "affinity-sliding": _affinity(_sliding, clients=60),
    "affinity-capacity": _affinity(_by_turns, pods=2, timeout_s=10_800),
    "dials": _dials,
    "refused-dials": _refusing,
    "proxied": _proxied,
}
"""By name. Letters are those of netns, section 8."""
