"""How a kubelet tells the API server what its pods are like.

Source: pkg/kubelet/status/status_manager.go (syncPod, syncBatch).
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.engine.clock import Clock
from svcsim.kube.api.pod import Pod
from svcsim.kube.client import Client
from svcsim.kube.lifecycle import next_tick_ns
from svcsim.kube.pod_record import Phase, PodRecord, reported_status
from svcsim.kube.store import NotFoundError
from svcsim.kube.timings import Timings

Later = Callable[[PodRecord, int, Callable[[], None]], None]
"""Do something for a pod after a delay, unless the pod is gone by then."""


class StatusWriter:
    """Writes the status of one node's pods; `phase_ns` is that of its periodic comparison."""

    __slots__ = ("_client", "_clock", "_later", "_node_ips", "_phase_ns", "_timings")

    def __init__(
        self, client: Client, clock: Clock, timings: Timings, node_ips: tuple[str, ...], phase_ns: int, later: Later
    ) -> None:
        self._client = client
        self._clock = clock
        self._timings = timings
        self._node_ips = node_ips
        self._phase_ns = phase_ns
        self._later = later

    def report(self, record: PodRecord) -> None:
        """Have the pod's status written; several changes within the time of a write are one."""
        if not record.reporting:
            record.reporting = True
            self._later(record, self._timings.api_write_ns, lambda: self._write(record))

    def set_right(self, record: PodRecord) -> None:
        """Someone else has written the status: it is compared and written again at the next periodic comparison."""
        if record.phase in (Phase.RUNNING, Phase.WAITING, Phase.EXITED) and not record.comparing:
            record.comparing = True
            now = self._clock.now
            at_ns = next_tick_ns(now, self._timings.kubelet_status_sync_ns, self._phase_ns)
            self._later(record, at_ns - now, lambda: self._compare(record))

    def _compare(self, record: PodRecord) -> None:
        record.comparing = False
        if not record.reporting:
            self._write(record)

    def _write(self, record: PodRecord) -> None:
        record.reporting = False
        if not self._client.reachable:
            record.reporting = True
            self._client.when_reachable(lambda: self._later(record, self._timings.api_write_ns, lambda: self._write(record)))
            return
        current = self._client.store.get(Pod, record.pod.metadata.key)
        if current is None or current.metadata.uid != record.pod.metadata.uid:
            return
        status = reported_status(record, current, self._node_ips, self._clock.now)
        record.status = record.written = status
        try:
            self._client.update_status(current.model_copy(update={"status": status}))
        except NotFoundError:
            return
