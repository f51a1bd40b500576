"""Ingress controllers in a world: the proxy in each of their pods, and the process beside it that watches and configures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from svcsim.datapath.host import Namespace
from svcsim.datapath.network import Network
from svcsim.engine.streams import Stream, stream_seed
from svcsim.kube.api.ingress import Ingress
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.cluster import ControlPlane
from svcsim.kube.controllers.ingress import IngressController, IngressSettings, with_addresses
from svcsim.linux.address import parse_address
from svcsim.scenario.ingress import IngressController as IngressModel
from svcsim.units import S
from svcsim.workload.ingress_server import IngressServer
from svcsim.workload.server import ServerProfile
from svcsim.workload.upstreams import UpstreamSettings

_PREFERRED = ("LoadBalancer", "NodePort", "ClusterIP")
"""Which Service before the pods is published, where none is named."""


@dataclass(slots=True)
class _Running:
    """A controller's process, and where it runs."""

    controller: IngressController
    node: str


class IngressControllers:
    """All ingress controllers of a world, by pod."""

    def __init__(
        self, network: Network, control: ControlPlane, seed: int, domain: str, outside: Mapping[str, tuple[int, ...]]
    ) -> None:
        """`domain`: of the cluster's names; `outside`: the addresses of names outside."""
        self._domain = domain
        self._outside = outside
        self._network = network
        self._control = control
        self._seed = seed
        self._phases = Stream(seed, "ingress/phase")
        self._running: dict[str, _Running] = {}

    def serve(
        self, pod: Pod, model: IngressModel, profile: ServerProfile, namespace: Namespace, endpoint: int
    ) -> IngressServer:
        """The proxy of a controller's pod, which serves from now on what its process has listed."""
        key, node = pod.metadata.key, pod.spec.node_name
        server = IngressServer(profile, namespace, endpoint, self._network, _upstream_settings(model), self._seed)
        controller = IngressController(
            self._control.node_client(node, f"ingress-controller/{key}"), self._settings(pod, model), pod, server,
            self._phases.uniform(stream_seed(0, key)), self._is_leader, lambda: self._node_addresses(model.class_),
            self._lookup,
        )
        self._running.pop(key, None)
        self._running[key] = _Running(controller, node)

        def stopped() -> None:
            controller.stop()
            if self._running.get(key) is not None and self._running[key].controller is controller:
                del self._running[key]

        server.on_stop = stopped
        controller.start()
        return server

    def publish(self) -> None:
        """The run starts with controllers that have been at work for long: their Ingresses show where they are."""
        store = self._control.store
        for running in self._running.values():
            addresses = running.controller.addresses()
            for ingress in running.controller.own_ingresses() if addresses else ():
                current = store.require(Ingress, ingress.metadata.key)
                if not current.status:
                    store.reload(with_addresses(current, addresses))

    def _lookup(self, name: str) -> tuple[int, ...]:
        """What a name leads to: a host outside, or a Service's ClusterIP; the look-up itself costs nothing here."""
        host = name.lower().removesuffix(".")
        if host in self._outside:
            return self._outside[host]
        labels = host.removesuffix(f".{self._domain}").split(".")
        if len(labels) != 3 or labels[2] != "svc":
            return ()
        service = self._control.store.get(Service, f"{labels[1]}/{labels[0]}")
        address = "" if service is None or service.spec.is_headless else service.spec.cluster_ip
        return (parse_address(address),) if address else ()

    def _is_leader(self, controller: IngressController) -> bool:
        """Whether it is the first of the living ones of its class (leader election, without the time of a lease)."""
        name = controller.settings.class_name
        living = (each.controller for each in self._running.values())
        return next((each for each in living if each.settings.class_name == name), None) is controller

    def _node_addresses(self, class_name: str) -> tuple[str, ...]:
        nodes = {each.node: None for each in self._running.values() if each.controller.settings.class_name == class_name}
        found = (self._control.store.get(Node, name) for name in nodes)
        return tuple(node.internal_ips[0] for node in found if node is not None and node.internal_ips)

    def _settings(self, pod: Pod, model: IngressModel) -> IngressSettings:
        return IngressSettings(
            class_name=model.class_, controller=model.controller, without_class=model.watch_ingress_without_class,
            publish_service=model.publish_service or self._service_before(pod),
            sync_interval_ns=round(S / model.sync_rate_limit_per_s), backends_interval_ns=model.backends_sync_interval_ns,
            reload_ns=model.reload_ns, status_period_ns=model.status_update_interval_ns,
        )

    def _service_before(self, pod: Pod) -> str:
        labels = pod.metadata.labels
        found = [
            service for service in self._control.store.each(Service)
            if service.metadata.namespace == pod.metadata.namespace and service.spec.selector
            and all(labels.get(key) == value for key, value in service.spec.selector.items())
            and service.spec.type in _PREFERRED and not service.spec.is_headless
        ]
        found.sort(key=lambda service: _PREFERRED.index(service.spec.type))
        return found[0].metadata.key if found else ""


def _upstream_settings(model: IngressModel) -> UpstreamSettings:
    return UpstreamSettings(
        connect_timeout_ns=model.connect_timeout_ns, read_timeout_ns=model.read_timeout_ns,
        next_on=frozenset(model.next_upstream), tries=model.next_upstream_tries,
        next_timeout_ns=model.next_upstream_timeout_ns, balancing=model.load_balance, kept=model.keepalive_connections,
        kept_for_ns=model.keepalive_timeout_ns, requests_per_connection=model.keepalive_requests,
    )
