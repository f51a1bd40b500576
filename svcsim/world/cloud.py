"""The cloud beside a simulated cluster: its balancers on the network, and the health checks by which they choose nodes.

A balancer of mode VIP passes packets on as they are: a client's packet reaches a node with the balancer's address as destination,
and the node's rules for that address take it from there; what a pod sends to that address never leaves its node, and answers do
not pass the balancer. One of mode Proxy is a host of its own that connects to node ports, also for pods of the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from svcsim.datapath.balancer import Balancer, Member, Thresholds
from svcsim.datapath.host import Host, Namespace
from svcsim.datapath.network import Network
from svcsim.engine.journal import Happening
from svcsim.engine.streams import Stream, splitmix64, stream_seed
from svcsim.kube.api.node import Node
from svcsim.kube.api.service import LoadBalancerIngress, LoadBalancerStatus, Service
from svcsim.kube.cluster import ControlPlane
from svcsim.kube.controllers.service_lb import FINALIZER, CloudError, ServiceController, wants_balancer
from svcsim.kube.informer import Informer
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import with_metadata
from svcsim.kubeproxy.service_health import HEALTHZ_PORT
from svcsim.kubeproxy.userspace_proxy import ProxyProcess
from svcsim.kubeproxy.userspace_udp import UdpProxyPort
from svcsim.linux.address import Address, Prefix, format_address, is_ipv6, parse_address
from svcsim.linux.packet import PROTOCOL_NUMBER, TCP
from svcsim.scenario.cloud import Cloud as CloudModel
from svcsim.scenario.faults import Apply
from svcsim.scenario.model import Scenario
from svcsim.scenario.quantities import Family, family_of
from svcsim.workload.prober import Prober
from svcsim.world.balancer_ports import BalancerPort, balancer_process

CLOUD_HOST = "cloud"
"""The host from which balancers check nodes, and on which those of mode Proxy run."""


def has_balancers(scenario: Scenario) -> bool:
    """Whether any Service of the scenario, also one that is applied later, gets a balancer."""
    if scenario.cluster.cloud.provider == "none":
        return False
    applied = [obj for fault in scenario.faults if isinstance(fault, Apply) for obj in fault.parsed()]
    return any(isinstance(obj, Service) and wants_balancer(obj) for obj in (*scenario.objects, *applied))


def check_addresses(model: CloudModel) -> tuple[Address, ...]:
    """The addresses, one a family, from which balancers check the health of nodes."""
    return tuple(parse_address(str(ip_network(block).network_address + 1)) for block in model.addresses)


def balancer_families(service: Service, cluster: Sequence[Family]) -> tuple[Family, ...]:
    """The families of a Service, also before the API server has filled them in; `cluster`: those there are, the default first."""
    spec = service.spec
    given = spec.ip_families or tuple(family_of(address) for address in spec.cluster_ips or (spec.cluster_ip,) if address)
    families = dict.fromkeys(given or cluster[:1])
    if spec.ip_family_policy in ("PreferDualStack", "RequireDualStack"):
        families |= dict.fromkeys(cluster)
    return tuple(families)


class Cloud:
    """All balancers of a world; a `CloudProvider` for the service controller."""

    def __init__(self, scenario: Scenario, network: Network, control: ControlPlane, seed: int) -> None:
        self._model = scenario.cluster.cloud
        self._ready_only = not scenario.kubernetes.has("stable-load-balancer-node-set")
        self._network = network
        self._control = control
        self._host: Host = next(host for host in network.fabric.hosts if host.name == CLOUD_HOST and not host.is_node)
        self._nodes = {host.name: host for host in network.fabric.hosts if host.is_node}
        self._process: ProxyProcess = balancer_process(self._host, network)
        self._prober = Prober(network, seed, "cloud/health-checks")
        self._spread = Stream(seed, "cloud/spread")
        self._phases = Stream(seed, "cloud/phases")
        check = self._model.health_check
        self._thresholds = Thresholds(check.healthy_threshold, check.unhealthy_threshold)
        self._balancers: dict[str, Balancer] = {}
        self._services: dict[str, Service] = {}
        self._families = scenario.kubernetes.families
        self._taken: set[int] = set(self._host.namespace.addresses)
        self._checks: dict[tuple[str, str], int] = {}
        self._settled = False
        self.provisioning_ns = self._model.provisioning_ns
        self.update_ns = self._model.update_ns

    # ---- the state that a run starts with ----------------------------------------------------------------------------

    def with_addresses(self, objects: Sequence[KubeObject]) -> list[KubeObject]:
        """The objects with the addresses of balancers that have been there for long; those of a dump keep theirs."""
        return [self._with_address(obj) if isinstance(obj, Service) and wants_balancer(obj) else obj for obj in objects]

    def _with_address(self, service: Service) -> Service:
        ingress = service.status.load_balancer.ingress
        if not any(point.ip for point in ingress):
            if self._refusal(service):
                return service
            ingress = tuple(map(self._point, self._addresses_for(service)))
        self._taken.update(parse_address(point.ip) for point in ingress if point.ip)
        status = service.status.model_copy(update={"load_balancer": LoadBalancerStatus(ingress=ingress)})
        finalizers = dict.fromkeys((*service.metadata.finalizers, FINALIZER))
        return with_metadata(service.model_copy(update={"status": status}), finalizers=tuple(finalizers))

    def begin(self) -> None:
        """The cluster is up: balancers that there are know their nodes, and the controller watches from now on."""
        informer = Informer(self._control.client("cloud-controller-manager"), (Service, Node))
        informer.list_initially()
        controller = ServiceController(
            informer, self, workers=self._model.concurrent_service_syncs, ready_only=self._ready_only
        )
        for service in self._control.store.list(Service):
            if wants_balancer(service) and service.status.load_balancer.ingress:
                self._put(service, controller.nodes())
                for place, _ in _places(service):
                    for member in self._balancers[place].members.values():
                        member.healthy = self._is_able(service, member)
            elif wants_balancer(service):
                controller.resync(service)
        self._settled = True

    def _is_able(self, service: Service, member: Member) -> bool:
        """What the health checks have found out long ago."""
        port = self._check_port(service)
        host = self._nodes[member.name]
        listener = host.namespace.listeners.get((TCP, port))
        if not host.up:
            return False
        return getattr(listener, "status", None) == 200 if port != self._node_port(service) else True

    # ---- what the controller asks for (`CloudProvider`) --------------------------------------------------------------

    def ensure(self, service: Service, nodes: Sequence[Node]) -> tuple[LoadBalancerIngress, ...]:
        """Make the Service's balancer, or bring it in line with it."""
        refusal = self._refusal(service)
        if refusal:
            raise CloudError(refusal)
        key = service.metadata.key
        known = key in self._balancers
        points = self._services[key].status.load_balancer.ingress if known else tuple(
            map(self._point, self._addresses_for(service))
        )
        self._taken.update(parse_address(point.ip) for point in points)
        service = service.model_copy(
            update={"status": service.status.model_copy(update={"load_balancer": LoadBalancerStatus(ingress=points)})}
        )
        self._put(service, nodes)
        self._tell(service, "ensured")
        return service.status.load_balancer.ingress

    def update(self, service: Service, nodes: Sequence[Node]) -> None:
        """Put these nodes behind the balancer."""
        self._put(service, nodes)
        self._tell(service, "updated")

    def remove(self, service: Service) -> None:
        """Take the balancer away."""
        known = self._services.get(service.metadata.key)
        if known is None:
            return
        for place, _ in _places(known):
            balancer = self._balancers.pop(place)
            del self._services[place]
            self._taken.discard(balancer.address)
            self._disconnect(balancer)
        self._tell(service, "removed")

    def _refusal(self, service: Service) -> str:
        """Why the provider can make no balancer for this Service; empty if it can."""
        if self._model.ip_mode == "Proxy" and not all(port.node_port for port in service.spec.ports):
            allocates = service.spec.allocate_load_balancer_node_ports is not False
            return "" if allocates else "a balancer of mode Proxy needs node ports (allocateLoadBalancerNodePorts is false)"
        return ""

    def _tell(self, service: Service, change: str) -> None:
        fabric = self._network.fabric
        fabric.journal.add(
            fabric.clock.now, Happening.LOAD_BALANCER, service.metadata.key, change=change,
            nodes=tuple(self._balancers[service.metadata.key].members) if service.metadata.key in self._balancers else (),
        )

    # ---- addresses ---------------------------------------------------------------------------------------------------

    def _point(self, address: Address) -> LoadBalancerIngress:
        return LoadBalancerIngress(ip=format_address(address), ip_mode=self._model.ip_mode)

    def _addresses_for(self, service: Service) -> tuple[Address, ...]:
        """An address of each family of the Service that there is a block of."""
        if service.spec.load_balancer_ip:
            return (parse_address(service.spec.load_balancer_ip),)
        blocks = {family_of(text): ip_network(text) for text in self._model.addresses}
        families = balancer_families(service, self._families)
        found = tuple(self._free_address(blocks[family]) for family in families if family in blocks)
        if not found:
            raise CloudError(f"there is no address of {' or '.join(families)} in {', '.join(self._model.addresses)}")
        return found

    def _free_address(self, block: IPv4Network | IPv6Network) -> Address:
        for number in range(2, block.num_addresses - 1):
            address = parse_address(str(block.network_address + number))
            if address not in self._taken:
                return address
        raise CloudError(f"no address is left in {block}")

    # ---- balancers on the network ------------------------------------------------------------------------------------

    def _put(self, service: Service, nodes: Sequence[Node]) -> None:
        for place, point in _places(service):
            self._put_point(place, point, service, nodes)

    def _put_point(self, key: str, point: LoadBalancerIngress, service: Service, nodes: Sequence[Node]) -> None:
        spec = service.spec
        old = self._balancers.get(key)
        if old is not None:
            self._disconnect(old)
        address = parse_address(point.ip)
        ranges = [Prefix.parse(text.strip()) for text in spec.load_balancer_source_ranges]
        balancer = self._balancers[key] = Balancer(
            address,
            {(PROTOCOL_NUMBER[port.protocol], port.port): port.node_port for port in spec.ports},
            tuple(block for block in ranges if is_ipv6(block.base) == is_ipv6(address)),
            by_client=spec.session_affinity == "ClientIP",
            fail_open=self._model.fail_open,
            members=old.members if old is not None else {},
        )
        balancer.set_members(
            (node.metadata.name, Address(self._nodes[node.metadata.name].namespace.towards(address)))
            for node in nodes if node.metadata.name in self._nodes
        )
        self._services[key] = service
        self._connect(key, balancer, proxies=point.ip_mode == "Proxy")
        for member in balancer.members:
            self._check_from_now_on(key, member)

    def _connect(self, key: str, balancer: Balancer, *, proxies: bool) -> None:
        fabric = self._network.fabric
        if not proxies:
            fabric.outside_routes[balancer.address] = self._route_of(balancer)
            return
        namespace = Namespace(f"{CLOUD_HOST}/{key}", balancer.address, self._host, index=self._host.index, is_host=True)
        fabric.add_namespace(namespace)
        for (protocol, port), node_port in balancer.ports.items():
            namespace.listeners[(protocol, port)] = self._port(balancer, protocol, port, node_port)

    def _port(self, balancer: Balancer, protocol: int, port: int, node_port: int) -> BalancerPort | UdpProxyPort:
        def choose(client: int, key: int) -> tuple[int, int] | None:
            member = balancer.pick(Address(client), protocol, port, self._spread.uniform, key)
            return None if member is None else (member.address, node_port)

        if protocol == TCP:
            return BalancerPort(self._process, choose, lambda client: balancer.admits(Address(client)))
        return UdpProxyPort(self._process, lambda client, reset: choose(client, client))

    def _route_of(self, balancer: Balancer) -> RouteOfBalancer:
        return RouteOfBalancer(balancer, self._nodes, self._spread)

    def _disconnect(self, balancer: Balancer) -> None:
        fabric = self._network.fabric
        fabric.outside_routes.pop(balancer.address, None)
        namespace = fabric.namespaces.get(balancer.address)
        if namespace is not None:
            fabric.remove_namespace(namespace)
            fabric.homes.pop(balancer.address, None)

    # ---- health checks -----------------------------------------------------------------------------------------------

    def _node_port(self, service: Service) -> int:
        return next((port.node_port for port in service.spec.ports if port.protocol == "TCP"), 0)

    def _check_port(self, service: Service) -> int:
        """Where a node is asked how it is."""
        if service.spec.external_traffic_policy == "Local" and service.spec.health_check_node_port:
            return service.spec.health_check_node_port
        return self._node_port(service) or HEALTHZ_PORT if self._model.health_check.port == "nodePort" else HEALTHZ_PORT

    def _check_from_now_on(self, key: str, member: str) -> None:
        place = (key, member)
        if place in self._checks:
            return
        self._checks[place] = 0
        interval_ns = self._model.health_check.interval_ns
        phase = self._phases.uniform(stream_seed(0, f"{key} {member}")) if not self._settled else 0.0
        self._network.fabric.clock.after(round(phase * interval_ns), lambda: self._check(place))

    def _check(self, place: tuple[str, str]) -> None:
        key, name = place
        balancer, service = self._balancers.get(key), self._services.get(key)
        member = balancer.members.get(name) if balancer is not None else None
        if member is None or service is None:
            del self._checks[place]
            return
        check = self._model.health_check
        port = self._check_port(service)
        http = port != self._node_port(service)
        self._prober.probe(
            self._host, member.address, port, check.timeout_ns, lambda success, reason: self._judge(place, success), http=http
        )
        self._network.fabric.clock.after(check.interval_ns, lambda: self._check(place))

    def _judge(self, place: tuple[str, str], success: bool) -> None:
        key, name = place
        balancer = self._balancers.get(key)
        member = balancer.members.get(name) if balancer is not None else None
        if member is not None and member.judge(success, self._thresholds):
            fabric = self._network.fabric
            fabric.journal.add(
                fabric.clock.now, Happening.TARGET_HEALTH, name, service=self._services[key].metadata.key,
                healthy="yes" if member.healthy else "no",
            )


def _places(service: Service) -> list[tuple[str, LoadBalancerIngress]]:
    """Under which name each address of a Service's balancer is known here: the Service's, and for a second one another."""
    points = [point for point in service.status.load_balancer.ingress if point.ip]
    key = service.metadata.key
    return [(f"{key}/{number}" if number > 1 else key, point) for number, point in enumerate(points, 1)]


class RouteOfBalancer:
    """How packets to a balancer of mode VIP get to a node; a `RouteIn` of the fabric."""

    __slots__ = ("_balancer", "_nodes", "_spread")

    def __init__(self, balancer: Balancer, nodes: dict[str, Host], spread: Stream) -> None:
        self._balancer = balancer
        self._nodes = nodes
        self._spread = spread

    def __call__(self, client: int, protocol: int, port: int, key: int) -> Host | None:
        """The node of a connection."""
        member = self._balancer.pick(Address(client), protocol, port, self._spread.uniform, key)
        return None if member is None else self._nodes[member.name]


def routes_in(scenario: Scenario, network: Network, seed: int) -> Iterator[tuple[int, RouteAmong]]:
    """The declared routes to further addresses, by address."""
    nodes = {host.name: host for host in network.fabric.hosts if host.is_node}
    for route in scenario.cluster.network.routes:
        hosts = tuple(nodes[name] for name in route.via)
        yield parse_address(route.to), RouteAmong(hosts, stream_seed(seed, f"network/routes/{route.to}"))


class RouteAmong:
    """Equal-cost paths to some nodes, one for each flow; a `RouteIn` of the fabric."""

    __slots__ = ("_hosts", "_key")

    def __init__(self, hosts: tuple[Host, ...], key: int) -> None:
        self._hosts = hosts
        self._key = key

    def __call__(self, client: int, protocol: int, port: int, key: int) -> Host | None:
        """The node of a flow."""
        return self._hosts[splitmix64(self._key ^ key & (1 << 64) - 1) % len(self._hosts)]
