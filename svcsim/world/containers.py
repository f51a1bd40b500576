"""What runs on the simulated machines: the container runtime that kubelets talk to, with a sandbox and a server a pod.

A pod's sandbox has its address for as long as the pod is there; its process comes and goes within it. A process listens on the
ports that its containers name and on the numbers that Services send to it, and serves as the scenario says of its labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from svcsim.datapath.host import Namespace
from svcsim.datapath.network import Network
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.store import Change, Event, Store
from svcsim.linux.address import parse_address
from svcsim.linux.packet import PROTOCOL_NUMBER
from svcsim.scenario.ingress import IngressController
from svcsim.scenario.model import Scenario
from svcsim.scenario.servers import Serving
from svcsim.workload.name_server import NameService
from svcsim.workload.server import Server, ServerProfile
from svcsim.world.clients import Clients
from svcsim.world.selectors import Selectors

ServeIngress = Callable[[Pod, IngressController, ServerProfile, Namespace, int], Server]
"""(pod, its controller, how it serves, sandbox, number of the endpoint) -> the process of an ingress controller."""
OnExit = Callable[[str, str, int], None]
"""(node, pod as `namespace/name`, exit code): a process has ended by itself."""

DNS_LABEL = ("k8s-app", "kube-dns")


@dataclass(slots=True)
class Running:
    """A pod on its node: its sandbox, and the process in it (None while there is none)."""

    pod: Pod
    namespace: Namespace
    server: Server | None = None
    ports: dict[tuple[int, int], None] = field(default_factory=dict)


class Containers:
    """All pods of a world, by `namespace/name`."""

    def __init__(
        self, scenario: Scenario, network: Network, store: Store, clients: Clients, names: NameService,
        dns_profile: ServerProfile, on_exit: OnExit, serve_ingress: ServeIngress,
    ) -> None:
        self._scenario = scenario
        self._network = network
        self._store = store
        self._clients = clients
        self._names = names
        self._dns_profile = dns_profile
        self._on_exit = on_exit
        self._serve_ingress = serve_ingress
        self._hosts = {host.name: host for host in network.fabric.hosts}
        self._profiles: dict[int, ServerProfile] = {}
        self.running: dict[str, Running] = {}
        self.endpoint_names: list[str] = []
        self._endpoint_index: dict[str, int] = {}
        self._homes: dict[int, int] = {}
        self._selectors = Selectors(store)
        store.listen(Service.__name__, self._service_changed)
        for outside in scenario.cluster.outside:
            host = self._hosts[outside.name]
            for served in outside.servers:
                server = self._server(self._profile(served), host.namespace, f"outside/{outside.name}")
                port = (PROTOCOL_NUMBER[served.protocol], served.port)
                host.namespace.listeners[port] = server
                network.fabric.name_endpoint(host.namespace, [port], server.endpoint)

    def endpoint_index(self, name: str) -> int:
        """The number of an endpoint in the run's table."""
        index = self._endpoint_index.get(name)
        if index is None:
            index = self._endpoint_index[name] = len(self.endpoint_names)
            self.endpoint_names.append(name)
        return index

    def endpoint_homes(self) -> list[int]:
        """For each endpoint the index of the host on which it served last, -1 where it never did."""
        return [self._homes.get(index, -1) for index in range(len(self.endpoint_names))]

    # ---- what the kubelet asks for -----------------------------------------------------------------------------------

    def start(self, pod: Pod) -> None:
        """Start the pod's process, in its sandbox (made for the first start)."""
        key = pod.metadata.key
        running = self.running.get(key)
        if running is None:
            running = self.running[key] = Running(pod, self._sandbox(pod))
        running.pod = pod
        running.namespace.alive = True
        self._serve(running)
        self._clients.pod_started(pod, running.namespace)

    def terminate(self, pod: Pod) -> None:
        """SIGTERM: the process ends when it has done what it does then, and `on_exit` is told."""
        key, node = pod.metadata.key, pod.spec.node_name

        def exited() -> None:
            self._on_exit(node, key, 0)

        running = self.running.get(key)
        if running is not None:
            self._clients.pod_stopped(pod, leaves=True)
        server = None if running is None else running.server
        if server is None:
            # What has no work to finish ends with the signal; not within the call, as a process would not either.
            self._network.fabric.later(0, exited)
            return
        server.on_exit = exited
        server.terminate()

    def kill(self, pod: Pod) -> None:
        """SIGKILL, or a crash: the process is gone; the sandbox stays."""
        running = self.running.get(pod.metadata.key)
        if running is None:
            return
        self._clients.pod_stopped(pod, leaves=False)
        if running.server is not None:
            self._stop_serving(running)

    def remove(self, pod: Pod) -> None:
        """The pod is gone: so is its sandbox, and nobody answers for its address; what still ran there is gone without a word."""
        running = self.running.pop(pod.metadata.key, None)
        if running is None:  # it went with the node's power, and now for good
            self._clients.pod_stopped(pod, leaves=True)
            return
        self._clients.pod_stopped(pod, leaves=running.namespace.host.up)
        if running.server is not None:
            running.server.on_exit = None
            running.server.power_off()
            self._close_ports(running)
        if not running.namespace.is_host:
            self._network.fabric.remove_namespace(running.namespace)

    def exec_succeeds(self, pod: Pod) -> bool:
        """Whether a command in the pod's container would succeed: its process lives."""
        running = self.running.get(pod.metadata.key)
        return running is not None and (running.server is None or running.server.is_alive)

    def namespace_of(self, pod: Pod) -> Namespace | None:
        """The pod's sandbox, None if it has none."""
        running = self.running.get(pod.metadata.key)
        return None if running is None else running.namespace

    # ---- servers -----------------------------------------------------------------------------------------------------

    def _sandbox(self, pod: Pod) -> Namespace:
        host = self._hosts[pod.spec.node_name]
        if pod.spec.host_network or not pod.status.pod_ip:
            return host.namespace
        key = pod.metadata.key
        primary, *further = map(parse_address, pod.addresses)
        namespace = Namespace(
            key, primary, host, index=1000 + self.endpoint_index(key),
            hairpin=self._network.fabric.settings.hairpin,
            further=further[0] if further else 0,
        )
        self._network.fabric.add_namespace(namespace)
        return namespace

    def _serve(self, running: Running) -> None:
        pod, namespace = running.pod, running.namespace
        ports = self._ports(pod)
        if not ports:
            return
        labels = pod.metadata.labels
        if labels.get(DNS_LABEL[0]) == DNS_LABEL[1]:
            server = self._server(self._dns_profile, namespace, pod.metadata.key)
            server.handler = self._names.handle
        else:
            serving = self._scenario.servers_for(pod.metadata.namespace, labels)
            if serving.ingress is None:
                server = self._server(self._profile(serving), namespace, pod.metadata.key)
            else:
                index = self.endpoint_index(pod.metadata.key)
                server = self._serve_ingress(pod, serving.ingress, self._profile(serving), namespace, index)
        running.server = server
        self._homes[server.endpoint] = namespace.host.index
        running.ports = ports
        for port in ports:
            namespace.listeners[port] = server
        self._network.fabric.name_endpoint(namespace, ports, server.endpoint)

    def _stop_serving(self, running: Running) -> None:
        server = running.server
        if server is not None:
            server.on_exit = None
            server.kill()
            self._close_ports(running)

    def _close_ports(self, running: Running) -> None:
        server, running.server = running.server, None
        for port in running.ports:
            if running.namespace.listeners.get(port) is server:
                del running.namespace.listeners[port]

    def _server(self, profile: ServerProfile, namespace: Namespace, name: str) -> Server:
        return Server(profile, namespace, self.endpoint_index(name), self._network.exchanges, self._network.handshakes)

    def _profile(self, serving: Serving) -> ServerProfile:
        profile = self._profiles.get(id(serving))
        if profile is None:
            profile = self._profiles[id(serving)] = ServerProfile(
                service_time=serving.service_time.quantile(), workers=serving.workers, queue_limit=serving.queue_limit,
                backlog=serving.backlog, drain=getattr(serving, "drain", "finish"), probes=getattr(serving, "probes", "shared"),
            )
        return profile

    def _ports(self, pod: Pod) -> dict[tuple[int, int], None]:
        found: dict[tuple[int, int], None] = {}
        for container in pod.spec.containers:
            for port in container.ports:
                found[(PROTOCOL_NUMBER[port.protocol], port.container_port)] = None
            for probe in (container.readiness_probe, container.liveness_probe, container.startup_probe):
                for action in () if probe is None else (probe.http_get, probe.tcp_socket):
                    if action is not None and isinstance(action.port, int):
                        found[(PROTOCOL_NUMBER["TCP"], action.port)] = None
        for service in self._selectors.of(pod):
            found.update(self._targeted(service, pod))
        return found

    def _targeted(self, service: Service, pod: Pod) -> dict[tuple[int, int], None]:
        """The numbers that a Service sends to on this pod, if it selects it."""
        spec = service.spec
        if service.metadata.namespace != pod.metadata.namespace or not spec.selector:
            return {}
        if any(pod.metadata.labels.get(key) != value for key, value in spec.selector.items()):
            return {}
        ports = ((port, port.target_port or port.port) for port in spec.ports)
        return {(PROTOCOL_NUMBER[port.protocol], target): None for port, target in ports if isinstance(target, int)}

    def _service_changed(self, event: Event) -> None:
        """A Service may send to ports that running pods have not opened yet."""
        service = event.obj
        if event.change is Change.DELETED or not isinstance(service, Service):
            return
        for running in self.running.values():
            wanted = self._targeted(service, running.pod)
            if not wanted:
                continue
            if running.server is None:
                self._serve(running)
                continue
            for port in wanted:
                if port not in running.ports:
                    running.ports[port] = None
                    running.namespace.listeners[port] = running.server
            self._network.fabric.name_endpoint(running.namespace, wanted, running.server.endpoint)
