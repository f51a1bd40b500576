"""Faults at pods: what becomes of their processes, their probes and their conditions."""

from __future__ import annotations

from collections.abc import Callable

from svcsim.faults.stage import Act, Effect, Stage
from svcsim.kube.pod_conditions import with_condition
from svcsim.scenario import faults as models
from svcsim.scenario.target import Target
from svcsim.workload.server import Server

DNS_SELECTOR = ("k8s-app", "kube-dns")


def kill(stage: Stage, act: Act, fault: models.Kill) -> Effect:
    """Their containers exit."""
    pods = stage.pods(fault.targets)
    for pod in pods:
        stage.machinery.kill_container(pod)
    return pods, [], None


def _on_servers(
    stage: Stage, targets: tuple[Target, ...], what: str, begin: Callable[[Server], None], end: Callable[[Server], None]
) -> Effect:
    pods = stage.pods(targets)
    servers = stage.machinery.servers_of(pods)
    for server in stage.take(what, servers):
        begin(server)

    def undo() -> None:
        for server in stage.give_back(what, servers):
            end(server)

    return pods, [], undo


def hang(stage: Stage, act: Act, fault: models.Hang) -> Effect:
    """Their processes do nothing more until the end."""
    return _on_servers(stage, fault.targets, "hung", Server.hang, Server.resume)


def slow(stage: Stage, act: Act, fault: models.Slow) -> Effect:
    """Everything they do takes longer."""

    def slower(server: Server) -> None:
        server.slowdown *= fault.factor

    def normal(server: Server) -> None:
        server.slowdown /= fault.factor

    # The number makes each act's slowness its own: they multiply.
    return _on_servers(stage, fault.targets, f"slow {act.index}", slower, normal)


def close_port(stage: Stage, act: Act, fault: models.ClosePort) -> Effect:
    """Nobody listens on their ports."""
    return _on_servers(stage, fault.targets, "port closed", Server.close_port, Server.reopen_port)


def dns_down(stage: Stage, act: Act, fault: models.DnsDown) -> Effect:
    """The pods of cluster DNS hang."""
    label, value = DNS_SELECTOR
    target = Target("pod", "*", "kube-system", None, ((label, value),))
    return _on_servers(stage, (target,), "hung", Server.hang, Server.resume)


def fail_readiness(stage: Stage, act: Act, fault: models.FailReadiness) -> Effect:
    """Their readiness probes fail."""
    pods = stage.pods(fault.targets)
    by_uid = {pod.metadata.uid: pod for pod in pods}
    for uid in stage.take("unready", by_uid):
        stage.machinery.fail_readiness(by_uid[uid], True)

    def undo() -> None:
        for uid in stage.give_back("unready", by_uid):
            stage.machinery.fail_readiness(by_uid[uid], False)

    return pods, [], undo


def set_condition(stage: Stage, act: Act, fault: models.SetCondition) -> Effect:
    """A condition of theirs is written, as a controller of readiness gates does it."""
    store = stage.machinery.store
    pods = stage.pods(fault.targets)
    for pod in pods:
        status = with_condition(pod.status, fault.type, fault.status, "", stage.clock.now)
        store.update_status(pod.model_copy(update={"status": status}))
    return pods, [], None
