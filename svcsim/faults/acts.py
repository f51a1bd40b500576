"""Faults at work: each is begun at its time on what its targets mean then, and lifted at its end.

An act looks its targets up when it begins, so `deployment/web[1]` is the second pod at that moment, and what it returns undoes
it on the same things. What several acts do to one thing lasts until the last of them is lifted. Every act is written into the
journal, with the pods and nodes that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from svcsim.datapath.network import Network
from svcsim.engine.clock import Clock
from svcsim.engine.journal import Happening, Journal
from svcsim.faults import on_network, on_nodes, on_objects, on_pods
from svcsim.faults.stage import Act, Effect, Machinery, Stage, Undo
from svcsim.scenario import faults as models

_BEGINS: dict[type[models.Fault], Callable[[Stage, Act, Any], Effect]] = {
    models.Kill: on_pods.kill,
    models.Delete: on_objects.delete,
    models.Hang: on_pods.hang,
    models.Slow: on_pods.slow,
    models.ClosePort: on_pods.close_port,
    models.FailReadiness: on_pods.fail_readiness,
    models.Scale: on_objects.scale,
    models.Rollout: on_objects.rollout,
    models.Cordon: on_nodes.cordon,
    models.Drain: on_nodes.drain,
    models.SetCondition: on_pods.set_condition,
    models.Down: on_nodes.down,
    models.Partition: on_network.partition,
    models.Loss: on_network.loss,
    models.Delay: on_network.delay,
    models.StopProxy: on_nodes.stop_proxy,
    models.ApiServer: on_network.api_server,
    models.DnsDown: on_pods.dns_down,
    models.ConntrackMax: on_nodes.conntrack_max,
    models.IpvsModules: on_nodes.ipvs_modules,
    models.Apply: on_objects.apply,
}


class Acts:
    """All faults of a run."""

    def __init__(
        self, faults: Iterable[models.Fault], machinery: Machinery, network: Network, clock: Clock, journal: Journal,
        place: Callable[[str], str] = lambda part: "",
    ) -> None:
        """`place` says where a part of the scenario, as `faults[0]`, stands in its file."""
        self._acts = [Act(i, fault) for i, fault in enumerate(faults)]
        self._stage = Stage(machinery, network, clock, journal, place)
        self._clock = clock
        self._journal = journal

    def schedule(self, until_ns: int) -> None:
        """Arm every fault that comes before the end of the run; in what follows, requests under way end undisturbed."""
        for act in self._acts:
            if act.fault.at_ns >= until_ns:
                continue
            self._clock.after(act.fault.at_ns, lambda act=act: self._begin(act))  # type: ignore[misc]

    def _begin(self, act: Act) -> None:
        fault = act.fault
        # The entry precedes what the act causes; whom it concerns is filled in as soon as that is known.
        detail: dict[str, Any] = {"index": act.index, "fault": fault.verb}
        self._journal.add(self._clock.now, Happening.FAULT_BEGIN, fault.text, **detail)
        entry = self._journal.entries[-1]
        pods, nodes, undo = _BEGINS[type(fault)](self._stage, act, fault)
        entry.detail["pods"] = tuple(pod.metadata.key for pod in pods)
        entry.detail["nodes"] = tuple(nodes)
        entry.detail["targets"] = tuple(str(target) for target in fault.targets)
        if not pods and not nodes and fault.aims_at is not None:
            self._stage.note(f"{fault.text}: there is nothing that it could act on")
        ends_ns = fault.ends_ns
        if undo is not None and ends_ns is not None:
            lift = undo
            self._clock.after(ends_ns - self._clock.now, lambda: self._end(act, lift))

    def _end(self, act: Act, undo: Undo) -> None:
        self._journal.add(self._clock.now, Happening.FAULT_END, act.fault.text, index=act.index)
        undo()
