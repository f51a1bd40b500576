"""IPVS schedulers, one a file: each decides which real server of a service gets a new connection.

A scheduler sees its service's servers in the kernel's list order (the last added first) and is told of every change. It
holds what the kernel keeps in `svc->sched_data`, so `ipvsadm -E` with another scheduler starts afresh.

>>> sorted(SCHEDULERS)
['dh', 'lblc', 'lblcr', 'lc', 'mh', 'nq', 'rr', 'sed', 'sh', 'wlc', 'wrr']
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from svcsim.errors import UsageError
from svcsim.linux.ipvs.schedulers.dh import DestinationHashing
from svcsim.linux.ipvs.schedulers.lblc import LocalityLeastConnection
from svcsim.linux.ipvs.schedulers.lblcr import LocalityLeastConnectionReplicated
from svcsim.linux.ipvs.schedulers.lc import LeastConnection
from svcsim.linux.ipvs.schedulers.mh import MaglevHashing
from svcsim.linux.ipvs.schedulers.nq import NeverQueue
from svcsim.linux.ipvs.schedulers.rr import RoundRobin
from svcsim.linux.ipvs.schedulers.sed import ShortestExpectedDelay
from svcsim.linux.ipvs.schedulers.sh import SourceHashing
from svcsim.linux.ipvs.schedulers.wlc import WeightedLeastConnection
from svcsim.linux.ipvs.schedulers.wrr import WeightedRoundRobin
from svcsim.linux.ipvs.services import RealServer
from svcsim.spelling import nearest


class Scheduler(Protocol):
    """What a service asks of its scheduler and tells it; `index` is the place in the list."""

    def choose(self, client: int, client_port: int, destination: int, now_ns: int) -> RealServer | None:
        """The server for a new connection, None if there is none that may take it."""

    def added(self, index: int) -> None:
        """A server was put at `index` of the list."""

    def removed(self, index: int) -> None:
        """The server that stood at `index` was taken off the list."""

    def updated(self) -> None:
        """A weight was set."""


class _Maker(Protocol):
    def __call__(self, servers: list[RealServer], flags: Sequence[str] = ()) -> Scheduler: ...


SCHEDULERS: dict[str, _Maker] = {
    "rr": RoundRobin,
    "wrr": WeightedRoundRobin,
    "lc": LeastConnection,
    "wlc": WeightedLeastConnection,
    "sed": ShortestExpectedDelay,
    "nq": NeverQueue,
    "sh": SourceHashing,
    "dh": DestinationHashing,
    "mh": MaglevHashing,
    "lblc": LocalityLeastConnection,
    "lblcr": LocalityLeastConnectionReplicated,
}

FLAGS: dict[str, tuple[str, ...]] = {"sh": ("sh-fallback", "sh-port"), "mh": ("mh-fallback", "mh-port")}
"""The flags that `ipvsadm -b` knows, by scheduler."""


def make_scheduler(name: str, servers: list[RealServer], flags: Sequence[str] = ()) -> Scheduler:
    """The scheduler of that name over the service's list of servers; UsageError for an unknown name or flag."""
    maker = SCHEDULERS.get(name)
    if maker is None:
        raise UsageError(f"unknown IPVS scheduler {name!r}{nearest(name, SCHEDULERS)}")
    for flag in flags:
        if flag not in FLAGS.get(name, ()):
            raise UsageError(f"IPVS scheduler {name} has no flag {flag!r}")
    return maker(servers, flags)
