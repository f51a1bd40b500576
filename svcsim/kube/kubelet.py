"""The kubelet: makes a node's pods real, probes them, tells the API server how they are, and ends them.

A container that ends is noticed at the next relist; a pod that is deleted gets its preStop hook, SIGTERM and, when its grace
period is over, SIGKILL. A pod's containers live and die together here, as one process in one sandbox.
Sources: pkg/kubelet (kubelet.go, pod_workers.go, pleg/generic.go, status/status_manager.go, kuberuntime).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from svcsim.engine.clock import Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.engine.streams import Stream, stream_seed
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.client import Client
from svcsim.kube.events import EventRecorder
from svcsim.kube.lifecycle import (
    PodAddresses,
    ProbeKind,
    RestartBackoff,
    init_ns,
    next_tick_ns,
    pre_stop_ns,
)
from svcsim.kube.node_signs import NodeSigns
from svcsim.kube.pod_events import PodEvents
from svcsim.kube.pod_record import SETTLED_SINCE_NS, Phase, PodRecord
from svcsim.kube.probing import Prober, workers_of
from svcsim.kube.runtime import ContainerRuntime
from svcsim.kube.status_writer import StatusWriter
from svcsim.kube.store import Change, Event
from svcsim.kube.timings import Timings
from svcsim.units import S

SIGKILL_CODE = 137
_JITTER = 0.5
"""So much longer, at most, a pod waits that could not be set up (pkg/kubelet/pod_workers.go)."""


class Kubelet:
    """One node's kubelet."""

    __slots__ = (
        "_addresses", "_boots", "_client", "_clock", "_events", "_journal", "_node_ips", "_phases", "_pods", "_power", "_prober",
        "_runtime", "_status", "_timings", "_watch", "node", "signs",
    )

    def __init__(
        self,
        client: Client,
        clock: Clock,
        journal: Journal,
        timings: Timings,
        node: Node,
        pod_cidrs: tuple[str, ...],
        runtime: ContainerRuntime,
        prober: Prober,
        seed: int,
        contact: Callable[[bool], None] = lambda connected: None,
    ) -> None:
        """`contact` is told when the node loses its network for want of power, and when it has it again."""
        self.node = node.metadata.name
        self._client = client
        self._events = PodEvents(EventRecorder(client, "kubelet", node.metadata.name))
        self._clock = clock
        self._journal = journal
        self._timings = timings
        self._runtime = runtime
        self._prober = prober
        self._addresses = PodAddresses(pod_cidrs)
        self._node_ips = node.internal_ips
        self._pods: dict[str, PodRecord] = {}
        self._phases = Stream(seed, f"kubelet/{self.node}/phases")
        self._power = 0
        self._boots = 0
        self.signs = NodeSigns(
            self.node, client, clock, timings, self._events, contact, lambda: self._power, self._phase(1, timings.lease_renew_ns),
            self._phase(0, timings.node_status_update_ns),
        )
        comparison_ns = self._phase(3, timings.kubelet_status_sync_ns)
        self._status = StatusWriter(client, clock, timings, node.internal_ips, comparison_ns, self._later)
        self._watch = client.watch_pods_of(self.node, self._pod_changed)

    def _phase(self, what: int, period_ns: int) -> int:
        return int(self._phases.uniform(what) * period_ns)

    @property
    def is_up(self) -> bool:
        """Whether the node has power and its kubelet runs."""
        return self._power % 2 == 0

    def record(self, key: str) -> PodRecord | None:
        """What the kubelet knows of a pod, None if it does not have it."""
        return self._pods.get(key)

    # Pods come and go.

    def adopt(self, pod: Pod) -> None:
        """Take on a pod that has been running (or, if it is not ready, failing) since before the run."""
        record = self._pods[pod.metadata.key] = PodRecord(pod, self._new_backoff())
        record.addresses = pod.addresses
        record.status = pod.status
        for address in () if pod.spec.host_network else pod.addresses:
            self._addresses.reserve(address)
        record.started_ns = SETTLED_SINCE_NS
        if not pod.is_ready:
            record.phase = Phase.HELD
            return
        record.phase = Phase.RUNNING
        record.ready = [True] * len(pod.spec.containers)
        record.started = [True] * len(pod.spec.containers)
        self._runtime.start(record.as_run())
        self._add_probes(record, settled=True)

    def hear(self, pod: Pod) -> None:
        """A pod that was bound to the node before the run has to be started."""
        power = self._power
        self._clock.after(self._timings.kubelet_sync_ns, lambda: self._sync(Change.ADDED, pod, power))

    def _pod_changed(self, event: Event) -> None:
        pod = event.obj
        assert isinstance(pod, Pod)
        power = self._power
        if self.is_up:
            self._clock.after(self._timings.kubelet_sync_ns, lambda: self._sync(event.change, pod, power))

    def _sync(self, change: Change, pod: Pod, power: int) -> None:
        if power != self._power:
            return
        record = self._pods.get(pod.metadata.key)
        if record is not None and record.pod.metadata.uid != pod.metadata.uid:
            self._forget(record)
            record = None
        if change is Change.DELETED:
            if record is not None:
                self._forget(record)
        elif record is None:
            if not pod.is_finished:
                self._take_on(pod)
        else:
            was_terminating = record.pod.is_terminating
            record.pod = pod
            if pod.is_terminating and not was_terminating:
                self._end(record)
            elif pod.status != record.written:
                if pod.spec.readiness_gates:
                    self._status.report(record)
                else:
                    self._status.set_right(record)

    def _take_on(self, pod: Pod) -> None:
        record = self._pods[pod.metadata.key] = PodRecord(pod, self._new_backoff())
        record.status = pod.status
        self._give_addresses(record)
        if pod.is_terminating:
            self._ended(record)
            return
        self._add_probes(record, settled=False)
        if pod.is_ready:  # it ran before the node lost power
            self._status.report(record)
        self._set_up(record, 0)

    def _give_addresses(self, record: PodRecord) -> None:
        record.addresses = self._node_ips if record.pod.spec.host_network else self._addresses.allocate()

    def _set_up(self, record: PodRecord, failed: int) -> None:
        """Make the sandbox, which has failed so often for want of an address; without one it is tried again later."""
        if record.ending:
            return
        if failed:
            self._give_addresses(record)
        if record.addresses or not self._addresses.prefixes:
            self._later(record, self._timings.container_start_ns, lambda: self._initialise(record, 0))
            return
        name = f"{record.pod.metadata.uid}/{failed}"
        number, block = self._addresses.exhausted()
        self._events.no_address(record.pod, sha256(name.encode()).hexdigest(), number, block)
        if not failed:
            self._status.report(record)
        share = 1 + _JITTER * self._phases.uniform(stream_seed(0, name))
        self._later(record, int(self._timings.sandbox_retry_ns * share), lambda: self._set_up(record, failed + 1))

    def _new_backoff(self) -> RestartBackoff:
        return RestartBackoff(self._timings.restart_backoff_ns, self._timings.restart_backoff_max_ns)

    def _add_probes(self, record: PodRecord, *, settled: bool) -> None:
        record.workers += workers_of(
            self._clock, self._prober, record, self._phases if settled else None,
            lambda index, kind, good, why: self._decided(record, index, kind, why, good=good),
            lambda kind, probe, port, why: self._events.unhealthy(record.as_run(), kind, probe, port, why),
        )
        for worker in record.workers:
            worker.start()

    def _forget(self, record: PodRecord) -> None:
        """The pod's object is gone; so is the pod, if it was deleted by force."""
        del self._pods[record.pod.metadata.key]
        if record.phase is not Phase.GONE:
            record.retire()
            self._runtime.remove(record.as_run())
            self._release(record)

    def _release(self, record: PodRecord) -> None:
        if not record.pod.spec.host_network:
            self._addresses.release(record.addresses)

    def _later(self, record: PodRecord, delay_ns: int, action: Callable[[], None]) -> None:
        """Do something for a pod later, unless it (or the node's power) is gone by then."""
        power = self._power

        def act() -> None:
            if power == self._power and self._pods.get(record.pod.metadata.key) is record:
                action()

        self._clock.after(delay_ns, act)

    def _at_relist(self, record: PodRecord, action: Callable[[], None]) -> None:
        now, period_ns = self._clock.now, self._timings.kubelet_relist_ns
        self._later(record, next_tick_ns(now, period_ns, self._phase(2, period_ns)) - now, action)

    # Containers start and end.

    def _initialise(self, record: PodRecord, index: int) -> None:
        """The sandbox is there: init containers run one after the other, then the pod's own."""
        containers = record.pod.spec.init_containers
        if index == len(containers) or record.ending:
            self._start(record)
            return
        self._events.started(record.pod, containers[index])
        delay_ns = init_ns(containers[index]) + self._timings.container_restart_ns
        self._later(record, delay_ns, lambda: self._initialise(record, index + 1))

    def _start(self, record: PodRecord) -> None:
        if record.ending:
            return
        record.epoch += 1
        record.phase = Phase.STARTED
        record.started_ns = self._clock.now
        self._runtime.start(record.as_run())
        self._journal.add(self._clock.now, Happening.CONTAINER_STARTED, record.pod.metadata.key)
        for container in record.pod.spec.containers:
            self._events.started(record.pod, container)
        epoch = record.epoch
        self._at_relist(record, lambda: self._noticed_start(record, epoch))

    def _noticed_start(self, record: PodRecord, epoch: int) -> None:
        if record.epoch != epoch or record.phase is not Phase.STARTED:
            return
        record.phase = Phase.RUNNING
        for index, container in enumerate(record.pod.spec.containers):
            record.started[index] = container.startup_probe is None
            record.ready[index] = record.started[index] and container.readiness_probe is None
        self._status.report(record)
        self._trigger_readiness(record)

    def _trigger_readiness(self, record: PodRecord) -> None:
        for worker in record.workers:
            if worker.kind is ProbeKind.READINESS:
                worker.trigger()

    def exited(self, key: str, code: int) -> None:
        """The pod's process has ended, by itself or after SIGTERM, with this code."""
        record = self._pods.get(key)
        if record is None or record.phase not in (Phase.STARTED, Phase.RUNNING):
            return
        record.epoch += 1
        record.phase = Phase.EXITED
        record.finished_ns = self._clock.now
        record.code = code
        self._journal.add(self._clock.now, Happening.CONTAINER_EXITED, key, code=code)
        if record.ending:
            self._ended(record)
        else:
            epoch = record.epoch
            self._at_relist(record, lambda: self._noticed_exit(record, epoch))

    def kill(self, key: str) -> None:
        """The pod's process is killed (a crash, the OOM killer): it ends with code 137."""
        record = self._pods.get(key)
        if record is not None and record.phase in (Phase.STARTED, Phase.RUNNING):
            self._runtime.kill(record.as_run())
            self.exited(key, SIGKILL_CODE)

    def _noticed_exit(self, record: PodRecord, epoch: int) -> None:
        if record.epoch != epoch:
            return
        record.not_ready()
        policy = record.pod.spec.restart_policy
        if policy == "Never" or (policy == "OnFailure" and record.code == 0):
            record.phase = Phase.FINISHED
            self._status.report(record)
            return
        wait_ns, record.backoff = record.backoff.after_exit(record.finished_ns)
        record.restarts += 1
        record.backing_off = wait_ns > 0
        record.phase = Phase.WAITING
        self._status.report(record)
        if wait_ns:
            for container in record.pod.spec.containers:
                self._events.backing_off(record.pod, container)
        delay_ns = max(0, record.finished_ns + wait_ns - self._clock.now) + self._timings.container_restart_ns
        self._later(record, delay_ns, lambda: self._start(record))

    # Probes.

    def fail_readiness(self, key: str, *, failing: bool) -> None:
        """Have all readiness probes of a pod fail from now on, or be themselves again."""
        record = self._pods.get(key)
        if record is not None:
            record.unready = failing

    def _decided(self, record: PodRecord, index: int, kind: ProbeKind, reason: str, *, good: bool) -> None:
        if kind is ProbeKind.READINESS:
            if record.ready[index] != good:
                record.ready[index] = good
                self._status.report(record)
        elif kind is ProbeKind.STARTUP and good:
            record.started[index] = True
            record.ready[index] = record.pod.spec.containers[index].readiness_probe is None
            self._status.report(record)
            self._trigger_readiness(record)
        elif not good and not record.ending:
            probe = record.workers_probe(index, kind)
            grace_s = record.pod.spec.termination_grace_period_seconds
            if probe is not None and probe.termination_grace_period_seconds is not None:
                grace_s = probe.termination_grace_period_seconds
            self._events.stopping(record.pod, record.pod.spec.containers[index], kind)
            self._stop(record, grace_s * S, reason)

    # The end.

    def _end(self, record: PodRecord) -> None:
        record.ending = True
        for worker in record.workers:
            if worker.kind is not ProbeKind.READINESS:
                worker.stop()
        if record.phase not in (Phase.STARTED, Phase.RUNNING):
            self._ended(record)
            return
        for container in record.pod.spec.containers:
            self._events.stopping(record.pod, container)
        grace_s = record.pod.metadata.deletion_grace_period_seconds
        self._stop(record, (record.pod.spec.termination_grace_period_seconds if grace_s is None else grace_s) * S, "deleted")

    def _stop(self, record: PodRecord, grace_ns: int, reason: str) -> None:
        """preStop, SIGTERM, and SIGKILL at the end of the grace period (at least 2 s after SIGTERM)."""
        epoch = record.epoch
        hook_ns = min(pre_stop_ns(record.pod, self._timings.kubelet_exec_probe_ns), grace_ns)

        def terminate() -> None:
            if record.epoch == epoch:
                self._later(record, max(self._timings.minimum_grace_ns, grace_ns - hook_ns), force)
                self._runtime.terminate(record.as_run())

        def force() -> None:
            if record.epoch == epoch:
                self.kill(record.pod.metadata.key)

        if hook_ns:
            self._later(record, hook_ns, terminate)
        else:
            terminate()

    def _ended(self, record: PodRecord) -> None:
        """All containers of a deleted pod have ended: the sandbox goes, then the object."""
        record.retire()
        record.not_ready()
        self._runtime.remove(record.as_run())
        self._release(record)
        self._status.report(record)
        key, uid = record.pod.metadata.key, record.pod.metadata.uid
        self._later(
            record,
            self._timings.kubelet_pod_cleanup_ns,
            lambda: self._client.when_reachable(lambda: self._delete(key, uid)),
        )

    def _delete(self, key: str, uid: str) -> None:
        current = self._client.store.get(Pod, key)
        if current is not None and current.metadata.uid == uid and self.is_up and self._client.reachable:
            self._client.delete(Pod, key, grace_seconds=0)

    # Power.

    def power_off(self) -> None:
        """The node loses power, perhaps while it boots: every container is gone, nobody says so."""
        self._boots += 1
        if not self.is_up:
            return
        self.signs.lost_contact()
        self._power += 1
        self.signs.went_dark()
        for record in self._pods.values():
            record.retire()
            record.ending = True
            self._runtime.remove(record.as_run())
            self._release(record)
        self._pods.clear()

    def power_on(self) -> None:
        """The node has power again: it boots, its kubelet lists its pods and starts them anew, with new addresses."""
        if not self.is_up:
            self._boots += 1
            boot = self._boots
            self._clock.after(self._timings.node_boot_ns, lambda: self._boot(boot))

    def _boot(self, boot: int) -> None:
        if boot != self._boots:
            return
        self._power += 1
        self.signs.came_back()
        self._client.when_reachable(self._list)

    def _list(self) -> None:
        self.signs.begin_anew()
        node = self._client.store.get(Node, self.node)
        if node is not None:
            self._events.kubelet_started(node)
        self.signs.report(self._power)
        for pod in self._client.store.list(Pod):
            if pod.spec.node_name == self.node and not pod.is_finished:
                self._sync(Change.ADDED, pod, self._power)
                record = self._pods.get(pod.metadata.key)
                if record is not None:
                    record.restarts = 1 + max((each.restart_count for each in pod.status.container_statuses), default=0)
