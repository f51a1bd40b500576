"""The kubelet's probes on the simulated network: which of them are requests, and what the others find."""

from __future__ import annotations

from collections.abc import Callable

from svcsim.datapath.network import Network
from svcsim.kube.api.pod import Pod, Probe
from svcsim.kube.timings import Timings
from svcsim.units import S
from svcsim.workload.prober import Prober
from svcsim.world.containers import Containers

OnResult = Callable[[bool, str], None]


class Probes:
    """All kubelets' probes; implements `svcsim.kube.probing.Prober`."""

    def __init__(self, network: Network, containers: Containers, timings: Timings, seed: int) -> None:
        self._network = network
        self._containers = containers
        self._timings = timings
        self._prober = Prober(network, seed)
        self._hosts = {host.name: host for host in network.fabric.hosts}

    def probe(self, pod: Pod, probe: Probe, port: int, on_result: OnResult) -> None:
        """Probe a pod from its node, now."""
        if probe.exec is not None or not port:
            delay_ns = self._timings.kubelet_exec_probe_ns
            self._network.fabric.clock.after(
                delay_ns, lambda: on_result(self._containers.exec_succeeds(pod), "command failed")
            )
            return
        namespace = self._containers.namespace_of(pod)
        if namespace is None:
            self._network.fabric.later(0, lambda: on_result(False, "no sandbox"))
            return
        self._prober.probe(
            self._hosts[pod.spec.node_name], namespace.address, port, probe.timeout_seconds * S, on_result,
            http=probe.tcp_socket is None,
        )
