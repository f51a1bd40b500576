"""Faults of the network: links that lose or delay, nodes that are cut off, an API server out of reach."""

from __future__ import annotations

from collections.abc import Iterable

from svcsim.faults.stage import Act, Effect, Stage, Undo
from svcsim.kube.api.pod import Pod
from svcsim.network.topology import Disturbance
from svcsim.scenario import faults as models
from svcsim.scenario.target import Target


def partition(stage: Stage, act: Act, fault: models.Partition) -> Effect:
    """Nodes are cut off from all others and from the API server."""
    nodes = stage.nodes(fault.targets)
    pods = [pod for pod in stage.machinery.store.each(Pod) if pod.spec.node_name in nodes]
    stage.machinery.cut_off(stage.take("cut off", nodes))
    return pods, nodes, lambda: stage.machinery.reconnect(stage.give_back("cut off", nodes))


def _disturb(stage: Stage, act: Act, disturbance: Disturbance, to: tuple[Target, ...] | None) -> Undo | None:
    if to and not disturbance.to:
        stage.note(f"{act.fault.text}: there are no such links")
        return None
    fabric = stage.network.fabric
    fabric.topology.add_fault(act.index, disturbance)
    fabric.changed()

    def undo() -> None:
        fabric.topology.remove_fault(act.index)
        fabric.changed()

    return undo


def _ends(stage: Stage, targets: Iterable[Target]) -> tuple[str, ...]:
    """Targets as the network names ends of links."""
    found: dict[str, None] = {}
    for target in targets:
        if target.kind == "outside":
            outside = (host.name for host in stage.network.fabric.hosts if not host.is_node)
            found.update({f"outside/{name}": None for name in outside if target.name in ("*", name)})
        else:
            found.update({f"node/{name}": None for name in stage.nodes((target,))})
    return tuple(found)


def loss(stage: Stage, act: Act, fault: models.Loss) -> Effect:
    """Links lose packets."""
    disturbance = Disturbance(_ends(stage, fault.on), _ends(stage, fault.to or ()), loss=fault.loss)
    return [], stage.nodes(fault.on), _disturb(stage, act, disturbance, fault.to)


def delay(stage: Stage, act: Act, fault: models.Delay) -> Effect:
    """Links take longer."""
    on, to = _ends(stage, fault.on), _ends(stage, fault.to or ())
    disturbance = Disturbance(on, to, delay_ns=fault.delay_ns, jitter_ns=fault.jitter_ns)
    return [], stage.nodes(fault.on), _disturb(stage, act, disturbance, fault.to)


def api_server(stage: Stage, act: Act, fault: models.ApiServer) -> Effect:
    """The API server is away."""
    if stage.take("away", ["API server"]):
        stage.machinery.api_server(available=False)

    def undo() -> None:
        if stage.give_back("away", ["API server"]):
            stage.machinery.api_server(available=True)

    return [], [], undo
