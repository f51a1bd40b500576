"""The result of one run: one variant of a scenario, one seed.

`Result` carries what the run recorded and answers with figures over its measured window (intended sends from
the end of the warm-up on); `workload` and `during` narrow it. `fingerprint` is equal for equal bytes of
records and journal.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from svcsim.engine.journal import Entry, Journal
from svcsim.results.records import COLUMNS, Requests
from svcsim.results.selection import Figures, Names, Selection
from svcsim.units import duration_ns

if TYPE_CHECKING:
    from svcsim.results.anatomy import FaultAnatomy


@dataclass(frozen=True, slots=True)
class Counters:
    """What a run counted beside its requests. CPU times are nanoseconds; maps are keyed by node or by cause.
    """

    packets_sent: int = 0
    packets_delivered: int = 0
    packets_dropped: dict[str, int] = field(default_factory=dict)
    proxy_cpu_ns: dict[str, int] = field(default_factory=dict)
    """CPU that proxying costs by node: the kube-proxy process (syncs, and in userspace mode what it forwards), and what the
    kernel spends on a Service's packets beyond plain forwarding."""
    kernel_cpu_ns: dict[str, int] = field(default_factory=dict)
    """The kernel's share of it by node: walks, look-ups, conntrack, translation."""
    rules_examined: int = 0
    connections: int = 0
    events: int = 0
    conntrack_peak: dict[str, int] = field(default_factory=dict)
    api_writes: dict[str, int] = field(default_factory=dict)
    """Changes by resource: services, endpoints, endpointslices."""
    api_bytes: dict[str, int] = field(default_factory=dict)
    """What the API server sent of these to all who watch, in protobuf."""
    api_largest_bytes: dict[str, int] = field(default_factory=dict)
    """The largest object of each."""
    simulated_ns: int = 0
    """When the last request had ended and the run stopped."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What it takes to get the same bytes again."""

    scenario: str = ""
    scenario_hash: str = ""
    """blake2b of the resolved scenario's text."""
    seed: int = 0
    profile: str = ""
    unmeasured_costs: int = 0
    """Entries of the profile that took part in this run, or in any that it is compared with, and are derived, published or
    assumed rather than measured."""
    svcsim: str = ""
    python: str = ""
    numpy: str = ""
    replay: str = ""
    """The command line that replays this run."""


@dataclass(eq=False)
class Result(Figures):
    """What one run left: `label` names its variant, such as `iptables` or `ipvs/rr`."""

    label: str
    requests: Requests
    journal: Journal
    names: Names
    duration_ns: int
    warmup_ns: int = 0
    replication: int = 0
    counters: Counters = field(default_factory=Counters)
    provenance: Provenance = field(default_factory=Provenance)

    def __repr__(self) -> str:
        return f"<{self.label}, seed {self.provenance.seed}: {self.measured!r}>"

    @cached_property
    def everything(self) -> Selection:
        """All requests of the run, the warm-up among them."""
        return Selection(self.requests, self.names)

    @cached_property
    def measured(self) -> Selection:
        """The requests sent after the warm-up; all figures of the result are over these."""
        return self.everything.during(self.warmup_ns or None, None)

    def workload(self, name: str) -> Selection:
        """The measured requests of one workload."""
        return self.measured.of_workload(name)

    def during(self, start: str | int | None, end: str | int | None) -> Selection:
        """The requests sent in a window, in ns or as `"5s"`; a window of one's own may reach into the
        warm-up.
        """
        start_ns = duration_ns(start) if isinstance(start, str) else start
        end_ns = duration_ns(end) if isinstance(end, str) else end
        return self.everything.during(start_ns, end_ns)

    @property
    def balance(self) -> float:
        """Answers of the busiest endpoint over the mean of all endpoints."""
        return self.measured.balance

    @property
    def proxy_cpu_ns(self) -> int:
        """CPU of all nodes' kube-proxies together."""
        return sum(self.counters.proxy_cpu_ns.values())

    @property
    def kernel_cpu_ns(self) -> int:
        """CPU of packet processing on all nodes together."""
        return sum(self.counters.kernel_cpu_ns.values())

    @property
    def api_bytes(self) -> int:
        """Bytes that the API server sent of Services, Endpoints and slices to all who watch them."""
        return sum(self.counters.api_bytes.values())

    @property
    def packets_dropped(self) -> int:
        """Packets dropped for any cause."""
        return sum(self.counters.packets_dropped.values())

    @cached_property
    def faults(self) -> tuple[FaultAnatomy, ...]:
        """The anatomy of each fault, in the order in which they began."""
        from svcsim.results.anatomy import anatomy

        return anatomy(self)

    @cached_property
    def fingerprint(self) -> str:
        """blake2b over every column of the records and every journal entry, 32 hex digits."""
        digest = hashlib.blake2b(digest_size=16)
        for name in COLUMNS:
            digest.update(f"{name}:{len(self.requests)}:".encode())
            digest.update(np.ascontiguousarray(self.requests.column(name)).data)
        for entry in self.journal.entries:
            digest.update(_canonical(entry))
        return digest.hexdigest()

    @property
    def plot(self) -> Any:
        """The figures of this result, such as `result.plot.latency_cdf()`; see `svcsim.report.plot.Plot`."""
        # The report stands above the results and imports them; by name, it is loaded when a figure is wanted.
        return importlib.import_module("svcsim.report.plot").Plot([self])

    def _repr_html_(self) -> str:
        from svcsim.results.comparison import Comparison

        return Comparison([self])._repr_html_()


def _canonical(entry: Entry) -> bytes:
    parts = [entry.at_ns, str(entry.kind), entry.subject, sorted(entry.detail.items())]
    return json.dumps(parts, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
