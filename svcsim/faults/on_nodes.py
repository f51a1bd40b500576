"""Faults at nodes: their power, their place in scheduling, their kube-proxy and their kernel."""

from __future__ import annotations

from svcsim.faults.drain import Drain, pods_to_evict
from svcsim.faults.stage import Act, Effect, Stage
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.scenario import faults as models


def _schedulable(stage: Stage, names: list[str], *, schedulable: bool) -> None:
    store = stage.machinery.store
    for name in names:
        node = store.get(Node, name)
        if node is not None and node.spec.unschedulable is schedulable:
            store.update(node.model_copy(update={"spec": node.spec.model_copy(update={"unschedulable": not schedulable})}))


def _uncordon(stage: Stage, nodes: list[str]) -> None:
    _schedulable(stage, stage.give_back("cordoned", nodes), schedulable=True)


def cordon(stage: Stage, act: Act, fault: models.Cordon) -> Effect:
    """Nothing new is placed on nodes."""
    nodes = stage.nodes(fault.targets)
    _schedulable(stage, stage.take("cordoned", nodes), schedulable=False)
    return [], nodes, lambda: _uncordon(stage, nodes)


def drain(stage: Stage, act: Act, fault: models.Drain) -> Effect:
    """Cordoned, and their pods evicted as budgets allow."""
    nodes = stage.nodes(fault.targets)
    _schedulable(stage, stage.take("cordoned", nodes), schedulable=False)
    pods = pods_to_evict(stage.machinery.store, nodes)
    grace_s = None if fault.grace_ns is None else -(-fault.grace_ns // 1_000_000_000)

    def tell(text: str) -> None:
        stage.note(f"{', '.join(nodes)}: {text}")

    drain = Drain(stage.machinery.store, stage.clock, pods, grace_s, tell)
    drain.start()

    def undo() -> None:
        drain.stop()
        _uncordon(stage, nodes)

    return pods, nodes, undo


def down(stage: Stage, act: Act, fault: models.Down) -> Effect:
    """Nodes lose power."""
    nodes = stage.nodes(fault.targets)
    pods = [pod for pod in stage.machinery.store.each(Pod) if pod.spec.node_name in nodes]
    for name in stage.take("down", nodes):
        stage.machinery.node_down(name)

    def undo() -> None:
        for name in stage.give_back("down", nodes):
            stage.machinery.node_up(name)

    return pods, nodes, undo


def stop_proxy(stage: Stage, act: Act, fault: models.StopProxy) -> Effect:
    """kube-proxy ends on nodes; rules stay."""
    nodes = stage.nodes(fault.targets)
    for name in stage.take("proxy stopped", nodes):
        stage.machinery.stop_proxy(name)

    def undo() -> None:
        for name in stage.give_back("proxy stopped", nodes):
            stage.machinery.start_proxy(name)

    return [], nodes, undo


def conntrack_max(stage: Stage, act: Act, fault: models.ConntrackMax) -> Effect:
    """A node's table of connections has another limit."""
    hosts = stage.hosts(stage.nodes(fault.on))
    for host in hosts:
        # What was set last holds; -1 stands for what the node came with.
        limits = stage.limits.setdefault(host.name, {-1: host.conntrack.limit})
        limits[act.index] = host.conntrack.limit = fault.conntrack_max

    def undo() -> None:
        for host in hosts:
            limits = stage.limits[host.name]
            del limits[act.index]
            host.conntrack.limit = list(limits.values())[-1]

    return [], [host.name for host in hosts], undo


def ipvs_modules(stage: Stage, act: Act, fault: models.IpvsModules) -> Effect:
    """The kernel of nodes has no IPVS from now on."""
    nodes = stage.nodes(fault.on)
    for name in nodes:
        stage.machinery.lose_ipvs_modules(name)
    return [], nodes, None
