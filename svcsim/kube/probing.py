"""A probe's worker: when it probes, and what it reports.

The first probe comes with the worker's first tick, and a readiness probe at once when its container has started; then each
period, counted from when the kubelet took the pod on. A probe still under way lets a tick pass.
Source: pkg/kubelet/prober/worker.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from svcsim.engine.clock import Clock
from svcsim.engine.streams import Stream, stream_seed
from svcsim.kube.api.pod import Container, Pod, Probe
from svcsim.kube.lifecycle import ProbeKind, ProbeState, next_tick_ns, probe_port
from svcsim.units import S

OnResult = Callable[[bool, str], None]
INITIAL = {ProbeKind.READINESS: False, ProbeKind.LIVENESS: True, ProbeKind.STARTUP: None}


class Prober(Protocol):
    """Who makes probes real: a request on the simulated network from the pod's node."""

    def probe(self, pod: Pod, probe: Probe, port: int, on_result: OnResult) -> None:
        """Probe a port of a pod (0 for a command), within the probe's time-out; the result comes exactly once."""


class Probed(Protocol):
    """What a worker has to know of its pod; the kubelet's record of it."""

    pod: Pod
    epoch: int
    started_ns: int
    unready: bool
    """Whether readiness probes fail whatever the pod answers (a fault)."""

    def runs(self) -> bool:
        """Whether the containers run, as the kubelet has seen."""

    def probe_allowed(self, container: int, kind: ProbeKind) -> bool:
        """Whether this probe takes place now: start-up comes before the others."""


class ProbeWorker:
    """One probe of one container, through all its restarts."""

    __slots__ = (
        "_clock", "_container", "_epoch", "_index", "_in_flight", "_on_decision", "_on_failure", "_on_hold", "_phase_ns", "_port",
        "_prober", "_record", "_state", "_stopped", "kind", "probe",
    )

    def __init__(
        self,
        clock: Clock,
        prober: Prober,
        record: Probed,
        index: int,
        kind: ProbeKind,
        probe: Probe,
        port: int,
        phase_ns: int,
        on_decision: Callable[[int, ProbeKind, bool, str], None],
        on_failure: Callable[[ProbeKind, Probe, int, str], None],
    ) -> None:
        self._clock = clock
        self._prober = prober
        self._record = record
        self._index = index
        self._container: Container = record.pod.spec.containers[index]
        self.kind = kind
        self.probe = probe
        self._port = port
        self._phase_ns = phase_ns
        self._on_decision = on_decision
        self._on_failure = on_failure
        self._epoch = -1
        self._state = ProbeState()
        self._in_flight = False
        self._on_hold = False
        self._stopped = False

    def start(self) -> None:
        """Begin to tick."""
        now = self._clock.now
        period_ns = self.probe.period_seconds * S
        self._clock.after(next_tick_ns(now, period_ns, self._phase_ns) - now, self._tick)

    def assume(self, decided: bool) -> None:
        """Take a result for known: the worker of a pod that has been running for long."""
        self._epoch = self._record.epoch
        self._state = ProbeState(decided, 1, decided)

    def stop(self) -> None:
        """Probe no more."""
        self._stopped = True

    def trigger(self) -> None:
        """Probe at once, without waiting for the tick."""
        self._probe()

    def _tick(self) -> None:
        if self._stopped:
            return
        self._clock.after(self.probe.period_seconds * S, self._tick)
        self._probe()

    def _probe(self) -> None:
        record = self._record
        if self._stopped or self._in_flight or not record.runs():
            return
        if self._epoch != record.epoch:
            self._epoch = record.epoch
            self._state = ProbeState(self._state.last, self._state.run, INITIAL[self.kind])
            self._on_hold = False
        if self._on_hold or not record.probe_allowed(self._index, self.kind):
            return
        if (self._clock.now - record.started_ns) // S < self.probe.initial_delay_seconds:
            return
        self._in_flight = True
        epoch = record.epoch
        self._prober.probe(record.pod, self.probe, self._port, lambda success, reason: self._result(epoch, success, reason))

    def _result(self, epoch: int, success: bool, reason: str) -> None:
        self._in_flight = False
        if self._stopped or epoch != self._record.epoch:
            return
        before = self._state.decided
        if self.kind is ProbeKind.READINESS and self._record.unready:
            success, reason = False, "made to fail"
        if not success:
            self._on_failure(self.kind, self.probe, self._port, reason)
        self._state = self._state.observe(self.probe, success)
        decided = self._state.decided
        if self.kind is not ProbeKind.READINESS and decided is False:
            self._on_hold = True
            self._state = ProbeState(self._state.last, 0, decided)
        if decided is not None and decided is not before:
            self._on_decision(self._index, self.kind, decided, reason)


def workers_of(
    clock: Clock, prober: Prober, record: Probed, settled: Stream | None,
    on_decision: Callable[[int, ProbeKind, bool, str], None], on_failure: Callable[[ProbeKind, Probe, int, str], None],
) -> list[ProbeWorker]:
    """A worker for each probe of a pod's containers, not started yet.

    `settled` says where in their periods the probes of a pod are that has been running for long; their results are known good.
    """
    workers = []
    for index, container in enumerate(record.pod.spec.containers):
        probes = (
            (ProbeKind.STARTUP, container.startup_probe),
            (ProbeKind.READINESS, container.readiness_probe),
            (ProbeKind.LIVENESS, container.liveness_probe),
        )
        for kind, probe in probes:
            if probe is None or (settled is not None and kind is ProbeKind.STARTUP):
                continue
            phase_ns = clock.now
            if settled is not None:
                key = stream_seed(0, f"{record.pod.metadata.key}/{index}/{kind.value}")
                phase_ns = int(settled.uniform(key) * probe.period_seconds * S)
            port = probe_port(record.pod, container, probe)
            worker = ProbeWorker(clock, prober, record, index, kind, probe, port, phase_ns, on_decision, on_failure)
            if settled is not None:
                worker.assume(True)
            workers.append(worker)
    return workers
