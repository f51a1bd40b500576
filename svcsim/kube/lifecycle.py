"""The pure parts of a pod's life on its node: probe results, restart back-off, time that preStop takes, addresses.

Sources: pkg/kubelet/prober/worker.go (doProbe), pkg/kubelet/kuberuntime/kuberuntime_manager.go (doBackOff), client-go
util/flowcontrol/backoff.go, pkg/kubelet/kuberuntime/kuberuntime_container.go (killContainer).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from svcsim.kube.api.pod import Container, Pod, Probe
from svcsim.linux.address import Address, Prefix, format_address, is_ipv6, parse_address
from svcsim.units import S

_SLEEP = re.compile(r"\bsleep\s+(\d+(?:\.\d+)?)([smh]?)\b")
_SLEEP_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
FIRST_POD_NUMBER = 2
_MOST_TRIED = (1 << 24) - 1


class ProbeKind(StrEnum):
    """What a probe decides."""

    READINESS = "readiness"
    LIVENESS = "liveness"
    STARTUP = "startup"


@dataclass(frozen=True, slots=True)
class ProbeState:
    """How often in a row a probe has said the same, and what it has decided: None before the first decision."""

    last: bool | None = None
    run: int = 0
    decided: bool | None = None

    def observe(self, probe: Probe, success: bool) -> ProbeState:
        """The state after a result; it decides once there are enough of a kind in a row."""
        run = self.run + 1 if success is self.last else 1
        enough = run >= (probe.success_threshold if success else probe.failure_threshold)
        return ProbeState(success, run, success if enough else self.decided)


@dataclass(frozen=True, slots=True)
class RestartBackoff:
    """How long a container that ended waits for its next start: nothing at first, then 10 s, doubling up to 300 s.

    >>> backoff, waits = RestartBackoff(10, 300), []
    >>> for finished in (0, 1000, 1050, 1100):
    ...     wait, backoff = backoff.after_exit(finished)
    ...     waits.append(wait)
    >>> waits
    [0, 0, 10, 20]
    """

    first_ns: int
    longest_ns: int
    current_ns: int = 0
    last_ns: int = 0

    def after_exit(self, finished_ns: int) -> tuple[int, RestartBackoff]:
        """(wait from the end of the container, the back-off of the next time); forgotten after twice the longest wait."""
        expired = finished_ns - self.last_ns > 2 * self.longest_ns
        if not self.current_ns or expired:
            return 0, replace(self, current_ns=self.first_ns, last_ns=finished_ns)
        wait_ns = self.current_ns
        return wait_ns, replace(self, current_ns=min(2 * wait_ns, self.longest_ns), last_ns=finished_ns + wait_ns)


def pre_stop_ns(pod: Pod, exec_ns: int) -> int:
    """How long the preStop hooks of a pod's containers take, side by side; a command takes as long as its `sleep` says.

    Any other command or request takes `exec_ns`.
    """
    return max((_hook_ns(container, exec_ns) for container in pod.spec.containers), default=0)


def _hook_ns(container: Container, exec_ns: int) -> int:
    hook = container.lifecycle.pre_stop if container.lifecycle is not None else None
    if hook is None:
        return 0
    if hook.sleep is not None:
        return hook.sleep.seconds * S
    if hook.exec is not None:
        return _sleep_ns(hook.exec.command, exec_ns)
    return exec_ns


def _sleep_ns(command: Iterable[str], otherwise_ns: int) -> int:
    found = _SLEEP.search(" ".join(command))
    return round(float(found.group(1)) * _SLEEP_UNITS[found.group(2)] * S) if found else otherwise_ns


def init_ns(container: Container) -> int:
    """How long an init container runs: as its command's `sleep` says, else no time; a sidecar does not hold the others up.

    >>> init_ns(Container(command=("sh", "-c", "sleep 5")))
    5000000000
    """
    return 0 if container.restart_policy == "Always" else _sleep_ns((*container.command, *container.args), 0)


def probe_port(pod: Pod, container: Container, probe: Probe) -> int:
    """The number of the port that a probe goes to, 0 for a command; a name is one of the container's, else of the pod's."""
    if probe.exec is not None:
        return 0
    if probe.grpc is not None:
        return probe.grpc.port
    action = probe.http_get or probe.tcp_socket
    target = action.port if action is not None else 0
    if isinstance(target, int):
        return target
    for each in (container, *pod.spec.containers):
        for port in each.ports:
            if port.name == target:
                return port.container_port
    return int(target) if target.isdecimal() else 0


def next_tick_ns(now_ns: int, period_ns: int, phase_ns: int) -> int:
    """The first instant after now at which something periodic happens.

    >>> next_tick_ns(100, 10, 3), next_tick_ns(103, 10, 3)
    (103, 113)
    """
    return now_ns + period_ns - (now_ns - phase_ns) % period_ns if period_ns > 0 else now_ns


def last_tick_ns(now_ns: int, period_ns: int, phase_ns: int) -> int:
    """The last such instant up to now."""
    return now_ns - (now_ns - phase_ns) % period_ns


class LeaseRenewals:
    """When a node's lease was last renewed: each period while it can be, without an event each.

    >>> lease = LeaseRenewals(10, 3, now_ns=0)
    >>> lease.renewed_ns(25)
    23
    >>> lease.stop(25)
    >>> lease.resume(51)
    >>> lease.renewed_ns(52), lease.renewed_ns(53)
    (23, 53)
    """

    __slots__ = ("_frozen_ns", "_period_ns", "_phase_ns", "_resumed_ns")

    def __init__(self, period_ns: int, phase_ns: int, now_ns: int) -> None:
        self._period_ns = period_ns
        self._phase_ns = phase_ns
        self._frozen_ns = last_tick_ns(now_ns, period_ns, phase_ns)
        self._resumed_ns: int | None = now_ns

    @property
    def stopped(self) -> bool:
        """Whether it cannot be renewed."""
        return self._resumed_ns is None

    def renewed_ns(self, now_ns: int) -> int:
        """The instant of the last renewal."""
        if self._resumed_ns is None:
            return self._frozen_ns
        tick_ns = last_tick_ns(now_ns, self._period_ns, self._phase_ns)
        return max(self._frozen_ns, tick_ns) if tick_ns >= self._resumed_ns else self._frozen_ns

    def stop(self, now_ns: int) -> None:
        """No renewals from now on."""
        self._frozen_ns = self.renewed_ns(now_ns)
        self._resumed_ns = None

    def resume(self, now_ns: int) -> None:
        """The next renewal comes with the next period."""
        self._frozen_ns = self.renewed_ns(now_ns)
        self._resumed_ns = now_ns


def _last(block: Prefix) -> int:
    """The number of a block's last address for a host: IPv4 leaves out the broadcast address."""
    return (1 << block.bits - block.length) - (1 if is_ipv6(block.base) else 2)


class PodAddresses:
    """Addresses of a node's pods from its blocks, one of each family for a pod, given out in turn (host-local IPAM)."""

    __slots__ = ("_next", "_taken", "prefixes")

    def __init__(self, cidrs: Iterable[str]) -> None:
        self.prefixes = tuple(Prefix.parse(cidr) for cidr in cidrs)
        self._next = [FIRST_POD_NUMBER] * len(self.prefixes)
        self._taken: set[int] = set()

    def allocate(self) -> tuple[str, ...]:
        """Addresses for a new pod; none at all when a block has none left."""
        made = tuple(text for index in range(len(self.prefixes)) if (text := self._one(index)))
        if len(made) < len(self.prefixes):
            self.release(made)
            return ()
        return made

    def reserve(self, address: str) -> None:
        """Take an address that a pod has already; the turn goes on behind it, so that one given back is not given out at once."""
        taken = parse_address(address)
        self._taken.add(taken)
        for index, prefix in enumerate(self.prefixes):
            if taken in prefix:
                self._next[index] = max(self._next[index], taken - prefix.base + 1)

    def release(self, addresses: Iterable[str]) -> None:
        """Give addresses back."""
        for text in addresses:
            self._taken.discard(parse_address(text))

    def exhausted(self) -> tuple[int, str]:
        """(number, first to last address) of the block that has none left, as the plugin writes it; ValueError if all have."""
        for index, block in enumerate(self.prefixes):
            address = self._one(index)
            if not address:
                return index, "-".join(format_address(Address(block.base + number)) for number in (1, _last(block)))
            self.release((address,))
        raise ValueError("no block is exhausted")

    def _one(self, index: int) -> str:
        prefix = self.prefixes[index]
        last = min(_last(prefix), _MOST_TRIED)
        for _ in range(max(0, last - FIRST_POD_NUMBER + 1)):
            number = self._next[index] if self._next[index] <= last else FIRST_POD_NUMBER
            self._next[index] = number + 1 if number < last else FIRST_POD_NUMBER
            address = Address(prefix.base + number)
            if address not in self._taken:
                self._taken.add(address)
                return format_address(address)
        return ""
