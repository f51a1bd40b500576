"""What a kubelet says of its pods and its node: the texts of its events.

Sources: pkg/kubelet/events/event.go, pkg/kubelet/kuberuntime/kuberuntime_container.go, pkg/kubelet/images/image_manager.go,
pkg/kubelet/prober/prober.go, pkg/probe/http/http.go; containernetworking/plugins ipam/host-local (allocator.go).
"""

from __future__ import annotations

from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Container, Pod, Probe
from svcsim.kube.events import EventRecorder
from svcsim.kube.lifecycle import ProbeKind

_SOCKET_ERRORS = {"refused": "connect: connection refused", "no route": "connect: no route to host",
                  "connect time-out": "i/o timeout", "time-out": "i/o timeout", "no local port": "bind: address already in use"}


def _place(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def probe_failure(pod: Pod, probe: Probe, port: int, reason: str) -> str:
    """The kubelet's words for a failed probe; `reason` is what the network says of it (`refused`, `time-out`, …).

    >>> from svcsim.kube.api.base import ObjectMeta
    >>> from svcsim.kube.api.pod import HttpGetAction, PodStatus
    >>> pod = Pod(metadata=ObjectMeta(name="web"), status=PodStatus(pod_ip="10.244.0.2"))
    >>> probe_failure(pod, Probe(http_get=HttpGetAction(path="/ready", port=8080)), 8080, "refused")
    'Get "http://10.244.0.2:8080/ready": dial tcp 10.244.0.2:8080: connect: connection refused'
    """
    address = pod.addresses[0] if pod.addresses else ""
    place = _place(address, port)
    if probe.exec is not None:
        return reason
    if probe.grpc is not None:
        return f'timeout: failed to connect service "{place}" within {probe.timeout_seconds}s: {reason}'
    dialled = f"dial tcp {place}: {_SOCKET_ERRORS[reason]}" if reason in _SOCKET_ERRORS else reason
    action = probe.http_get
    if action is None:
        return dialled
    if reason in {"status 503", "made to fail"}:
        return "HTTP probe failed with statuscode: 503"
    url = f"{action.scheme.lower()}://{_place(action.host or address, port)}{action.path}"
    if reason in ("time-out", "request time-out", "connect time-out"):
        return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    if reason == "reset":
        return f'Get "{url}": read tcp {place}: read: connection reset by peer'
    return f'Get "{url}": {dialled}'


class PodEvents:
    """One kubelet's events."""

    __slots__ = ("_recorder",)

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def started(self, pod: Pod, container: Container) -> None:
        """A container has been made and started; its image was there."""
        image = container.image or container.name
        self._recorder.normal(pod, "Pulled", f'Container image "{image}" already present on machine')
        self._recorder.normal(pod, "Created", f"Created container: {container.name}")
        self._recorder.normal(pod, "Started", f"Started container {container.name}")

    def no_address(self, pod: Pod, sandbox: str, range_number: int, addresses: str) -> None:
        """The pod's sandbox got no network: the host-local plugin has no address left in a range."""
        text = (
            f'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "{sandbox}": '
            f"failed to allocate for range {range_number}: no IP addresses available in range set: {addresses}"
        )
        self._recorder.warning(pod, "FailedCreatePodSandBox", text)

    def stopping(self, pod: Pod, container: Container, failed: ProbeKind | None = None) -> None:
        """A container is being stopped: its pod goes, or a probe failed."""
        if failed is None:
            self._recorder.normal(pod, "Killing", f"Stopping container {container.name}")
        else:
            text = f"Container {container.name} failed {failed.value} probe, will be restarted"
            self._recorder.normal(pod, "Killing", text)

    def backing_off(self, pod: Pod, container: Container) -> None:
        """A container that ended has to wait."""
        metadata = pod.metadata
        text = (
            f"Back-off restarting failed container {container.name} in pod "
            f"{metadata.name}_{metadata.namespace}({metadata.uid})"
        )
        self._recorder.warning(pod, "BackOff", text)

    def unhealthy(self, pod: Pod, kind: ProbeKind, probe: Probe, port: int, reason: str) -> None:
        """A probe failed."""
        text = f"{kind.value.capitalize()} probe failed: {probe_failure(pod, probe, port, reason)}"
        self._recorder.warning(pod, "Unhealthy", text)

    def kubelet_started(self, node: Node) -> None:
        """The node has booted."""
        self._recorder.normal(node, "Starting", "Starting kubelet.")
        self._recorder.warning(node, "Rebooted", f"Node {node.metadata.name} has been rebooted")

    def node_status(self, node: Node, status: str) -> None:
        """The node's condition or its place in scheduling has changed: `NodeReady`, `NodeNotSchedulable`, …."""
        self._recorder.normal(node, status, f"Node {node.metadata.name} status is now: {status}")
