"""What a kubelet knows of one of its pods, and the status that it reports of it."""

from __future__ import annotations

from enum import Enum

from svcsim.kube.api.pod import (
    ContainerRunning,
    ContainerState,
    ContainerStatus,
    ContainerTerminated,
    ContainerWaiting,
    Pod,
    PodIP,
    PodPhase,
    PodStatus,
    Probe,
)
from svcsim.kube.lifecycle import ProbeKind, RestartBackoff
from svcsim.kube.pod_conditions import with_condition, with_readiness
from svcsim.kube.probing import ProbeWorker
from svcsim.units import S

SETTLED_SINCE_NS = -3600 * S
"""When what a run starts with came about, for ages to be compared."""


class Phase(Enum):
    """Where a pod's containers are."""

    CREATED = "created"  # the sandbox is being set up
    STARTED = "started"  # running; the kubelet has not seen it yet
    RUNNING = "running"
    EXITED = "exited"  # the kubelet has not seen it yet
    WAITING = "waiting"  # for the back-off
    HELD = "held"  # failing since before the run
    FINISHED = "finished"
    GONE = "gone"


class PodRecord:
    """A pod as its kubelet has it. `epoch` counts starts and ends of its containers, so that late news is known for such."""

    __slots__ = (
        "addresses", "backing_off", "backoff", "code", "comparing", "ending", "epoch", "finished_ns", "phase", "pod", "ready",
        "reporting", "restarts", "started", "started_ns", "status", "unready", "workers", "written",
    )

    def __init__(self, pod: Pod, backoff: RestartBackoff) -> None:
        containers = len(pod.spec.containers)
        self.pod = pod
        self.backoff = backoff
        self.backing_off = False
        self.phase = Phase.CREATED
        self.addresses: tuple[str, ...] = ()
        self.status: PodStatus = pod.status
        self.written: PodStatus = pod.status
        self.epoch = 0
        self.started_ns = 0
        self.finished_ns = 0
        self.code = 0
        self.restarts = max((each.restart_count for each in pod.status.container_statuses), default=0)
        self.ready = [False] * containers
        self.started = [False] * containers
        self.workers: list[ProbeWorker] = []
        self.ending = False
        self.reporting = False
        self.comparing = False
        self.unready = False

    def runs(self) -> bool:
        """Whether the containers run, as the kubelet has seen."""
        return self.phase is Phase.RUNNING

    def probe_allowed(self, container: int, kind: ProbeKind) -> bool:
        """Whether this probe takes place now: start-up comes before the others, and not again."""
        return self.started[container] != (kind is ProbeKind.STARTUP)

    def workers_probe(self, container: int, kind: ProbeKind) -> Probe | None:
        """The probe of a kind that a container has."""
        spec = self.pod.spec.containers[container]
        return {
            ProbeKind.READINESS: spec.readiness_probe,
            ProbeKind.LIVENESS: spec.liveness_probe,
            ProbeKind.STARTUP: spec.startup_probe,
        }[kind]

    def not_ready(self) -> None:
        """No container is ready."""
        self.ready = [False] * len(self.ready)
        self.started = [False] * len(self.started)

    def retire(self) -> None:
        """The pod is at its end: no probes, and news of its containers comes too late."""
        self.epoch += 1
        self.phase = Phase.GONE
        for worker in self.workers:
            worker.stop()

    def as_run(self) -> Pod:
        """The pod with its addresses, as the data plane needs it."""
        if self.pod.addresses == self.addresses:
            return self.pod
        return self.pod.model_copy(update={"status": with_addresses(self.pod.status, self.addresses)})


def with_addresses(status: PodStatus, addresses: tuple[str, ...]) -> PodStatus:
    """The status with these addresses."""
    ips = tuple(PodIP(ip=address) for address in addresses)
    return status.model_copy(update={"pod_ip": addresses[0] if addresses else "", "pod_ips": ips})


def _state(record: PodRecord) -> ContainerState | None:
    """How the pod's containers are."""
    if record.phase in (Phase.STARTED, Phase.RUNNING):
        return _RUNS
    if record.phase in (Phase.EXITED, Phase.FINISHED, Phase.GONE) and record.finished_ns:
        return _ended(record)
    if record.phase is Phase.WAITING:
        return _BACKS_OFF if record.backing_off else _ended(record)
    return _IS_MADE if record.phase is Phase.CREATED else None


def _last_state(record: PodRecord) -> ContainerState | None:
    if not record.restarts or not record.finished_ns:
        return None
    return _ended(record)


def _ended(record: PodRecord) -> ContainerState:
    reason = "Completed" if record.code == 0 else "Error"
    return ContainerState(
        terminated=ContainerTerminated(exit_code=record.code, reason=reason, finished_ns=record.finished_ns)
    )


_RUNS = ContainerState(running=ContainerRunning())
_BACKS_OFF = ContainerState(waiting=ContainerWaiting(reason="CrashLoopBackOff"))
_IS_MADE = ContainerState(waiting=ContainerWaiting(reason="ContainerCreating"))


def reported_status(record: PodRecord, current: Pod, node_ips: tuple[str, ...], now_ns: int) -> PodStatus:
    """The status to write over the current one; conditions of others are kept, readiness gates count."""
    running = record.phase is Phase.RUNNING
    phases: dict[Phase, PodPhase] = {
        Phase.CREATED: current.status.phase,
        Phase.STARTED: current.status.phase,
        Phase.GONE: current.status.phase,
        Phase.FINISHED: "Succeeded" if record.code == 0 else "Failed",
    }
    phase = phases.get(record.phase, "Running")
    base = current.status.model_copy(
        update={
            "phase": phase,
            "host_ip": node_ips[0] if node_ips else "",
            "container_statuses": tuple(
                ContainerStatus(
                    name=container.name, ready=running and ready, started=started, restart_count=record.restarts,
                    state=_state(record), last_state=_last_state(record),
                )
                for container, ready, started in zip(
                    record.pod.spec.containers, record.ready, record.started, strict=True
                )
            ),
        }
    )
    if record.phase is not Phase.GONE:
        base = with_addresses(base, record.addresses)
    base = with_condition(base, "PodScheduled", "True", "", now_ns)
    base = with_condition(base, "Initialized", "True", "", now_ns)
    containers_ready = running and all(record.ready)
    reason = "" if containers_ready else ("PodCompleted" if record.phase is Phase.FINISHED else "ContainersNotReady")
    return with_readiness(current, base, containers_ready=containers_ready, reason=reason, now_ns=now_ns)
