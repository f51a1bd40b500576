"""A scenario as a whole: cluster, objects, traffic, faults, and what is expected.

Models are frozen values and hold what the file says; `svcsim.scenario.loader` fills in the defaults that depend on other parts
(names, destinations, clients), so that a loaded scenario is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from svcsim.kube.kinds import KubeObject
from svcsim.kube.manifests import Manifests
from svcsim.scenario.cluster import Cluster, Node, Nodes, expand
from svcsim.scenario.expect import Expect, Instant, Window
from svcsim.scenario.faults import AnyFault
from svcsim.scenario.generator import ServiceGenerator
from svcsim.scenario.kubernetes import Kubernetes
from svcsim.scenario.quantities import Part
from svcsim.scenario.run import Calibration, Metadata, Run
from svcsim.scenario.servers import Servers
from svcsim.scenario.workload import Workload
from svcsim.validation import plain_kind

if TYPE_CHECKING:
    from svcsim.results.expectations import Expectation

DEFAULT_NODES = Nodes(count=3)
DEFAULT_SERVERS = Servers()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a loaded scenario came from."""

    file: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    """The scenario as data, manifests inlined and overrides applied."""
    manifests: Manifests = field(default_factory=Manifests)
    lines: dict[str, int] = field(default_factory=dict)
    """Line of each expectation, fault and workload, by path."""
    notes: tuple[str, ...] = ()
    added: tuple[dict[str, Any], ...] = ()
    """Manifests of what svcsim adds: Deployments of clients."""
    own: Manifests = field(default_factory=Manifests)
    """The objects of the file's manifests, without what svcsim adds."""

    def place(self, part: str) -> str:
        """`file:line: ` of an expectation, fault or workload, as `faults[0]`, for the beginning of a message; empty without."""
        line = self.lines.get(part)
        return f"{self.file}:{line}: " if line else ""


def _one_or_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _compared(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"a mapping from paths to lists of values is expected, not {plain_kind(value)}")
    for path, values in value.items():
        if not isinstance(values, list | dict) or not values:
            raise ValueError(
                f"a list of values for {path!r} is expected (or a mapping from label to value), not {plain_kind(values)}"
            )
    return value


class Scenario(Part):
    """One scenario file."""

    api_version: Literal["svcsim/v1"] = "svcsim/v1"
    kind: Literal["Scenario"] = "Scenario"
    metadata: Metadata = Metadata()
    kubernetes: Kubernetes = Kubernetes()
    cluster: Cluster = Cluster()
    manifests: tuple[dict[str, Any], ...] = ()
    """Kubernetes objects, inline, or as `{file: manifests/web.yaml}`."""
    services: Annotated[tuple[ServiceGenerator, ...], BeforeValidator(_one_or_list)] = ()
    """Further Services by the thousand, without pods."""
    workloads: tuple[Workload, ...] = ()
    servers: tuple[Servers, ...] = ()
    """How pods serve; the first entry that matches a pod is its."""
    faults: tuple[AnyFault, ...] = ()
    run: Run = Run()
    compare: Annotated[dict[str, Any], BeforeValidator(_compared)] = Field(default_factory=dict)
    """Paths, each with the list of values to compare (or a mapping from label to value); all combinations are run."""
    expect: tuple[Expect, ...] = ()
    calibration: Calibration = Calibration()

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.metadata.name

    @property
    def origin(self) -> Origin:
        """Where it came from."""
        return self._origin

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: what was left out of manifests, what looks odd without being a mistake."""
        return self._origin.notes

    @property
    def objects(self) -> list[KubeObject]:
        """The Kubernetes objects of the manifests, in order (those of `services` are made by their generators)."""
        return self._origin.manifests.objects

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that `cluster.nodes` declares, or the default ones; empty where the manifests hold Nodes instead."""
        if self.cluster.nodes is not None:
            return expand(self.cluster.nodes)
        return () if any(obj.kind == "Node" for obj in self.objects) else expand(DEFAULT_NODES)

    @property
    def node_names(self) -> tuple[str, ...]:
        """The names of all nodes."""
        return tuple(node.name for node in self.nodes) or tuple(obj.metadata.name for obj in self.objects if obj.kind == "Node")

    def servers_for(self, namespace: str, labels: dict[str, str]) -> Servers:
        """How a pod serves: the first entry that matches it, or the defaults."""
        return next((servers for servers in self.servers if servers.matches(namespace, labels)), DEFAULT_SERVERS)

    def fault_index(self, reference: int | str) -> int | None:
        """The place of a fault in the list, from 0, by place or name; None if there is none."""
        if isinstance(reference, int):
            return reference if 0 <= reference < len(self.faults) else None
        return next((i for i, fault in enumerate(self.faults) if fault.name == reference), None)

    def window_ns(self, window: Window) -> tuple[int | None, int | None]:
        """Start and end of a window in ns of the run, None where it is open."""
        start_ns = None if window.start is None else self._instant_ns(window.start, 0)
        end_ns = None if window.end is None else self._instant_ns(window.end, start_ns or 0)
        return start_ns, end_ns

    def _instant_ns(self, instant: Instant, window_ns: int) -> int:
        base_ns = {
            "start": 0, "warmup": self.run.measured_from_ns, "end": self.run.duration_ns, "window": window_ns,
        }.get(instant.anchor, 0)
        if instant.anchor == "fault":
            index = self.fault_index(instant.fault if instant.fault is not None else -1)
            if index is None:
                raise ValueError(f"there is no fault {instant.fault!r}")
            base_ns = self.faults[index].at_ns
        return max(0, base_ns + instant.offset_ns)

    def expectations(self) -> tuple[Expectation, ...]:
        """What is expected, as `svcsim.results.expectations` evaluates it."""
        from svcsim.results.expectations import Expectation

        found = []
        for i, expect in enumerate(self.expect):
            start_ns, end_ns = (None, None) if expect.during is None else self.window_ns(expect.during)
            line = self._origin.lines.get(f"expect[{i}]")
            found.append(
                Expectation(
                    metric=expect.metric, low=expect.low, high=expect.high, low_inclusive=expect.above is None,
                    high_inclusive=expect.below is None, workload=expect.workload, mode=expect.mode, start_ns=start_ns,
                    end_ns=end_ns, fault=None if expect.fault is None else self.fault_index(expect.fault),
                    endpoint=expect.endpoint, where=f"{self._origin.file}:{line}" if line else "",
                )
            )
        return tuple(found)
