"""The workloads of a scenario in a world: client processes as pods come and go, their arrivals, and the names they resolve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from svcsim.datapath.host import Host, Namespace
from svcsim.datapath.network import Network
from svcsim.engine.journal import Happening
from svcsim.engine.streams import Stream, splitmix64, stream_seed
from svcsim.errors import UsageError
from svcsim.faults.owners import is_pod_of
from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.ingress import Ingress
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.dns.address_selection import in_order
from svcsim.kube.dns.resolver import Resolver
from svcsim.kube.ingress_rules import address_of_host, rules_of
from svcsim.kube.store import Store
from svcsim.linux.address import format_address, is_ipv6, parse_address
from svcsim.linux.packet import PROTOCOL_NUMBER
from svcsim.results.records import Outcome, RecordWriter
from svcsim.scenario.address import Destination
from svcsim.scenario.model import Scenario
from svcsim.scenario.resolving import ClientResolver
from svcsim.scenario.workload import From
from svcsim.scenario.workload import Workload as WorkloadModel
from svcsim.workload.balancing import Balancing
from svcsim.workload.closedloop import ClosedLoop
from svcsim.workload.extra_attempts import Budget, Hedging
from svcsim.workload.multiplexed import MultiplexedWorkload, Multiplexing
from svcsim.workload.openloop import OpenLoop
from svcsim.workload.outliers import FailurePercentage, OutlierDetection, SuccessRate
from svcsim.workload.reconnecting import Reconnecting
from svcsim.workload.resolving import Resolvers
from svcsim.workload.settings import Retries, WorkloadSettings
from svcsim.workload.source import FOREVER_NS, Source
from svcsim.workload.workload import Workload
from svcsim.world.environments import Environments
from svcsim.world.naming import Naming

NAMED = 3
"""So many nodes a note lists."""
ResolverOf = Callable[[Namespace, ClientResolver], "Resolver | None"]


@dataclass(slots=True)
class _Group:
    """A workload with the pods that it sends from, by key."""

    model: WorkloadModel
    workload: Workload
    by_pod: dict[str, Source] = field(default_factory=dict)
    made: int = 0
    lookups: int = 0


class Clients:
    """All workloads of a world."""

    def __init__(
        self, scenario: Scenario, network: Network, store: Store, records: RecordWriter, resolvers: Resolvers,
        resolver_of: ResolverOf, environments: Environments, seed: int,
    ) -> None:
        self._scenario = scenario
        self._network = network
        self._store = store
        self._resolvers = resolvers
        self._resolver_of = resolver_of
        self._environments = environments
        self._seed = seed
        self._groups: list[_Group] = []
        self._loops: list[OpenLoop | ClosedLoop] = []
        for index, model in enumerate(scenario.workloads):
            settings = self._settings(model, index)
            multiplexing = _multiplexing(model)
            if multiplexing is None:
                workload = Workload(settings, [], network, records, seed, self._resolve_later)
            else:
                workload = MultiplexedWorkload(settings, [], network, records, seed, self._resolve_later, multiplexing)
            self._groups.append(_Group(model, workload))

    @property
    def workloads(self) -> list[Workload]:
        """Every workload, in the scenario's order."""
        return [group.workload for group in self._groups]

    def resolver_in(self, namespace: Namespace) -> ClientResolver:
        """The stub resolver of the first workload that sends from there, the default one where none does."""
        for group in self._groups:
            if any(source.namespace is namespace for source in group.workload.sources):
                return group.model.resolver
        return ClientResolver()

    @property
    def outstanding(self) -> int:
        """Requests that have begun and not ended."""
        return sum(group.workload.started - group.workload.ended for group in self._groups)

    @property
    def ended(self) -> int:
        """Requests that have ended."""
        return sum(group.workload.ended for group in self._groups)

    def _settings(self, model: WorkloadModel, index: int) -> WorkloadSettings:
        budget, hedging = model.retries.budget, model.hedging
        connections, backoff, policy = model.connections, model.retries.backoff, model.resolve.policy
        return WorkloadSettings(
            name=model.name,
            index=index,
            protocol=PROTOCOL_NUMBER[self._to(model).protocol],
            port=port if isinstance(port := self._to(model).port, int) else 0,
            timeout_ns=model.timeout_ns,
            connect_timeout_ns=model.connect_timeout_ns,
            keepalive=connections.keepalive,
            pool_limit=connections.pool_size,
            requests_per_connection=connections.max_requests_per_connection,
            server_closes=connections.closes == "server",
            waiting_limit=connections.waiting_limit,
            resolve=model.resolve.policy if connections.multiplexed is None or policy != "connection" else "interval",
            resolve_interval_ns=model.resolve.interval_ns if policy != "connection" else 0,
            balancing=_balancing(model),
            http=("", "/") if model.to is None else (model.to.host, model.to.path or "/"),
            unresolved=Outcome.NO_VARIABLE if self._to(model).is_variable else Outcome.DNS_FAILURE,
            retries=Retries(
                attempts=model.retries.attempts, base_ns=backoff.base_ns, factor=backoff.factor, max_ns=backoff.max_ns,
                jitter=backoff.jitter, on=frozenset(Outcome[name.upper()] for name in model.retries.on),
                budget=None if budget is None else Budget(budget.share, budget.min_per_s, budget.ttl_ns),
            ),
            hedging=None if hedging is None else Hedging(hedging.after_ns, hedging.quantile),
        )

    def _to(self, model: WorkloadModel) -> Destination:
        """Where a workload's connections are made."""
        target = model.target
        if target is None:
            raise self._mistake(model, "has no destination")
        return target

    def service_key(self, model: WorkloadModel) -> tuple[str, str] | None:
        """(namespace, name) of the Service that a workload sends to, as its clients' namespace has it; None for another host."""
        namespace = (model.from_ or From(clients=1)).namespace
        return self._to(model).service(
            lambda key: self._store.contains("Service", "/".join(key)), namespace, self._scenario.kubernetes.dns.domain
        )

    def answering_service(self, model: WorkloadModel) -> tuple[str, str] | None:
        """(namespace, name) of the Service whose pods all answer a workload: behind an Ingress the one that its rules name."""
        if model.via is not None and model.to is not None and self._store.count(Ingress):
            backend = rules_of(self._store.each(Ingress)).backend(model.to.host, model.to.path or "/")
            return None if backend is None else (backend.namespace, backend.service)
        place = self.service_key(model)
        return None if place is None or self._to(model).names_a_pod_of(place) else place

    def _service(self, model: WorkloadModel) -> Service | None:
        place = self.service_key(model)
        return None if place is None else self._store.get(Service, "/".join(place))

    def _port(self, model: WorkloadModel) -> int:
        """The port that clients connect to: as the URL says, by name, or the node port of the Service's port."""
        to = self._to(model)
        if isinstance(to.port, int) and not to.is_node_port:
            return to.port
        if to.is_variable_port:
            return 0
        service = self._service(model)
        for port in service.spec.ports if service is not None else ():
            if port.protocol == to.protocol and to.port in (port.port, port.name):
                if not to.is_node_port:
                    return port.port
                if port.node_port:
                    return port.node_port
        what = "node port for port" if to.is_node_port else "port"
        raise self._mistake(model, f"{to.host} has no {what} {to.port}")

    def _mistake(self, model: WorkloadModel, message: str) -> UsageError:
        """What only the running cluster shows to be wrong with a workload, with its place in the file."""
        place = self._scenario.origin.place(f"workloads[{self._scenario.workloads.index(model)}]")
        return UsageError(f"{place}workload {model.name}: {message}")

    # ---- who sends ---------------------------------------------------------------------------------------------------

    def pod_started(self, pod: Pod, namespace: Namespace) -> None:
        """A pod's container runs: it sends for the workloads that it belongs to, in the place of a dead one if there is one.

        A dead pod that comes back after another has taken its place sends beside it.
        """
        key = pod.metadata.key
        self._environments.started(pod)
        for group in self._groups:
            source_of = group.model.from_
            if source_of is None or not self._belongs(pod, source_of):
                continue
            sources = group.workload.sources
            source = group.by_pod.get(key)
            if source is None or source not in sources:
                source = next((old for old in sources if not old.alive), None)
                if source is not None:
                    group.by_pod.pop(source.name, None)
                else:
                    source = Source(key, namespace, group.made)
                    group.made += 1
                    sources.append(source)
            group.by_pod[key] = source
            self._attach(group, source, key, namespace)

    def pod_stopped(self, pod: Pod, *, leaves: bool) -> None:
        """A pod's container stopped; `leaves`: the pod itself is going, so others take its share at once."""
        key = pod.metadata.key
        for group in self._groups:
            source = group.by_pod.get(key)
            if source is None:
                continue
            group.workload.source_gone(source)
            if leaves:
                del group.by_pod[key]
                others = [other for other in group.workload.sources if other is not source and other.alive]
                if others:
                    group.workload.sources.remove(source)

    def add_host(self, host: Host, kind: str) -> None:
        """A node (`node`) or outside host (`outside`) that workloads may name as their sender."""
        for group in self._groups:
            source_of = group.model.from_
            name = None if source_of is None else source_of.node if kind == "node" else source_of.outside
            if name in (host.name, "*"):
                source = Source(host.name, host.namespace, group.made)
                group.made += 1
                group.workload.sources.append(source)
                self._attach(group, source, host.name, host.namespace)

    def host_power(self, host: Host, *, up: bool) -> None:
        """A host lost its power or got it back: so did clients that run on it without a pod."""
        for group in self._groups:
            for source in group.workload.sources:
                if source.namespace is host.namespace:
                    if up:
                        self._attach(group, source, source.name, host.namespace)
                    else:
                        group.workload.source_gone(source)

    def _belongs(self, pod: Pod, source: From) -> bool:
        metadata = pod.metadata
        if metadata.namespace != source.namespace:
            return False
        if source.pod is not None:
            return metadata.name == source.pod
        if source.labels is not None:
            return all(metadata.labels.get(key) == value for key, value in source.labels.items())
        for kind, name in (
            ("Deployment", source.deployment), ("DaemonSet", source.daemonset), ("StatefulSet", source.statefulset),
        ):
            if name is not None:
                return is_pod_of(self._store, pod, kind, name)
        return False

    def _attach(self, group: _Group, source: Source, name: str, namespace: Namespace) -> None:
        source.name = name
        source.namespace = namespace
        source.alive = True
        source.ports = {}
        source.target, source.resolved_until_ns = 0, -1
        if self._to(group.model).is_variable:
            self._read_variables(group.model, source)
            return
        static = self._static_target(group.model, source)
        if static:
            source.target, source.resolved_until_ns = static, FOREVER_NS

    def _read_variables(self, model: WorkloadModel, source: Source) -> None:
        """The client's program has started, and reads where its target is from its container's environment, once."""
        to = self._to(model)
        if source.namespace.is_host and not self._environments.has(source.name):
            raise self._mistake(model, f"{source.name} is no pod, and only a pod's containers have variables of Services")
        host = self._environments.expanded(source.name, to.host)
        port = self._environments.expanded(source.name, str(to.port))
        source.target, source.resolved_until_ns, source.port = 0, -1, 0
        if host is not None and port is not None:
            source.target, source.resolved_until_ns = parse_address(host), FOREVER_NS
            source.port = int(port) if to.is_variable_port else 0

    def settle(self, naming: Naming) -> None:
        """The run starts among clients that have been at work for long: each knows what its resolver told it some time ago.

        When it asks again is spread over the interval, so that clients don't ask all at once.
        """
        now = self._network.fabric.clock.now
        for group in self._groups:
            # Only now have Services all of their ports.
            group.workload.settings = replace(group.workload.settings, port=self._port(group.model))
            self._say_if_nobody_has(group.model)
            if self._to(group.model).is_variable:
                for source in group.workload.sources:
                    self._read_variables(group.model, source)
                continue
            policy, interval_ns = group.model.resolve.policy, group.model.resolve.interval_ns
            if policy not in ("interval", "once") or self._to(group.model).is_published:
                continue
            phases = Stream(self._seed, f"workload/{group.model.name}/resolved")
            for source in group.workload.sources:
                resolver = self._resolver_of(source.namespace, group.model.resolver)
                if source.resolved_until_ns >= now or resolver is None:
                    continue
                addresses = naming.known(resolver, self._to(group.model).host, group.model.family or "any")
                if addresses:
                    first = int(phases.uniform(source.index, 1) * len(addresses))
                    turned = (*addresses[first:], *addresses[:first])
                    ordered = in_order(turned, source.namespace.towards, resolver.libc)
                    source.target = ordered[0]
                    source.targets = tuple(ordered) if group.model.balancing is not None else ()
                    age_ns = int(phases.uniform(source.index) * interval_ns)
                    source.resolved_until_ns = FOREVER_NS if policy == "once" else now + age_ns

    def _say_if_nobody_has(self, model: WorkloadModel) -> None:
        """A workload that sends to an address of nobody: that may be meant, but is more often a slip."""
        to, fabric = self._to(model), self._network.fabric
        if not to.is_address or to.is_node_port:
            self._say_if_nobody_is_behind(model)
            return
        address = parse_address(to.host)
        if address in fabric.homes or address in fabric.outside_routes:
            return
        if any(to.host in (*service.spec.cluster_ips, *service.spec.external_ips) for service in self._store.each(Service)):
            return
        nodes = [f"{host.name} {format_address(host.address)}" for host in fabric.hosts if host.is_node]
        listed = ", ".join(nodes[:NAMED]) + (", …" if len(nodes) > NAMED else "")
        text = f"workload {model.name} sends to {to.host}, which nobody has (nodes: {listed})"
        fabric.journal.add(fabric.clock.now, Happening.NOTE, text)

    def _say_if_nobody_is_behind(self, model: WorkloadModel) -> None:
        """A Service with hand-made endpoints, none of which is in this network."""
        key = self.service_key(model)
        service = None if key is None else self._store.get(Service, "/".join(key))
        if key is None or service is None or service.spec.selector:
            return
        addresses = [
            address
            for piece in self._store.each(EndpointSlice)
            if piece.service_key == "/".join(key) and piece.address_type != "FQDN"
            for endpoint in piece.endpoints
            for address in endpoint.addresses
        ]
        fabric = self._network.fabric
        if addresses and not any(parse_address(address) in fabric.homes for address in addresses):
            listed = ", ".join(addresses[:NAMED]) + (", …" if len(addresses) > NAMED else "")
            text = (
                f"workload {model.name}: nobody has the addresses behind Service {'/'.join(key)} ({listed}); "
                "name a host under cluster.outside"
            )
            fabric.journal.add(fabric.clock.now, Happening.NOTE, text)

    # ---- where to ----------------------------------------------------------------------------------------------------

    def _static_target(self, model: WorkloadModel, source: Source) -> int:
        """The address of a destination that is not looked up: an address, a node port, or a name with `resolve: never`."""
        to = self._to(model)
        if to.is_node_port:
            nodes = [host for host in self._network.fabric.hosts if host.is_node]
            if to.node is not None:
                node = next(host for host in nodes if host.name == to.node)
            else:
                node = nodes[splitmix64(source.index) % len(nodes)]
            return self._reachable(node.namespace.addresses, model, source)
        if to.is_published:
            return self._published_address(model, source) if model.resolve.policy == "never" else 0
        if to.is_address:
            return parse_address(to.host)
        if model.resolve.policy != "never" and self._resolver_of(source.namespace, model.resolver) is not None:
            return 0
        service = self._service(model)
        if service is None or service.spec.is_headless or not service.spec.cluster_ip:
            if source.namespace.is_host and model.resolve.policy != "never":
                host = source.namespace.name
                advice = f"and {host} does not ask cluster DNS, only pods do; let pods be the clients, or give an address"
            else:
                advice = "let it resolve the name (resolve: interval(30s)), or give an address"
            raise self._mistake(model, f"{to.host} has no address that a client could know without DNS; {advice}")
        return self._reachable(tuple(map(parse_address, service.spec.cluster_ips)), model, source)

    def _published_address(self, model: WorkloadModel, source: Source) -> int:
        """The address that the status of a Service or Ingress shows now, as a public name's records would; 0 without one."""
        if self._to(model).is_ingress:
            addresses = [parse_address(each) for each in address_of_host(self._to(model).host, self._store.each(Ingress))]
        else:
            service = self._service(model)
            points = service.status.load_balancer.ingress if service is not None else ()
            addresses = [parse_address(point.ip) for point in points if point.ip]
        wanted = [each for each in addresses if model.family is None or is_ipv6(each) == (model.family == "IPv6")]
        return next(iter(in_order(wanted, source.namespace.towards)), 0)

    def _reachable(self, addresses: tuple[int, ...], model: WorkloadModel, source: Source) -> int:
        """The first of a Service's or a node's addresses that a client can send to, of the family that the workload asks for."""
        wanted = [each for each in addresses if model.family is None or is_ipv6(each) == (model.family == "IPv6")]
        found = next(filter(source.namespace.towards, wanted), 0)
        if not found:
            there = ", ".join(map(format_address, addresses))
            what = "" if model.family is None else f" of {model.family}"
            raise self._mistake(model, f"{source.name} can reach no address{what} of {self._to(model).host} ({there})")
        return found

    def _resolve_later(self, workload: Workload, source: Source, on_address: Callable[[int], None]) -> None:
        group = self._groups[workload.settings.index]
        if self._to(group.model).is_variable:
            on_address(0)  # what a container was started without it will never have
            return
        if self._to(group.model).is_published:
            on_address(self._published_address(group.model, source))
            return
        resolver = self._resolver_of(source.namespace, group.model.resolver)
        assert resolver is not None
        group.lookups += 1
        key = splitmix64(stream_seed(self._seed, f"{workload.settings.name}/{source.index}") ^ group.lookups)

        self._resolvers.resolve(
            resolver, source.namespace, self._to(group.model).host, key,
            lambda addresses, queries: on_address(
                _noted(source, group, in_order(addresses, source.namespace.towards, resolver.libc))[0] if addresses else 0
            ),
            family=group.model.family or "any",
        )

    # ---- when --------------------------------------------------------------------------------------------------------

    def start(self, duration_ns: int) -> None:
        """Arm the arrivals of every workload; UsageError for one that nobody sends."""
        clock = self._network.fabric.clock
        for group in self._groups:
            model, workload = group.model, group.workload
            if not workload.sources:
                raise self._mistake(model, f"there is nobody who sends ({_from_text(model.from_)} has no running pods)")
            until_ns = min(duration_ns, model.stop_ns or duration_ns)
            request_size, answer_size = model.request.quantile(), model.response.quantile()
            closed = model.arrivals.closed
            if closed is None:
                loop = OpenLoop(
                    workload, model.arrivals.process(duration_ns), request_size, answer_size, clock, self._seed,
                    model.start_ns, until_ns,
                )
                loop.start()
                self._loops.append(loop)
            else:
                users = ClosedLoop(
                    workload, closed.users, closed.think.quantile(), request_size, answer_size, clock, self._seed, until_ns
                )
                users.start(model.start_ns)
                self._loops.append(users)


def _noted(source: Source, group: _Group, addresses: Sequence[int]) -> Sequence[int]:
    """All addresses of an answer, kept by a client that balances on its own."""
    if group.model.balancing is not None:
        source.targets = tuple(addresses)
        source.failed = set()
    return addresses


def _balancing(model: WorkloadModel) -> Balancing | None:
    """How a workload's clients choose among addresses; None where they take one and stay."""
    stated = model.balancing
    if stated is None:
        return None
    return Balancing(stated.policy, stated.choice_count, stated.selection_method == "FULL_SCAN", _outlier_detection(model))


def _outlier_detection(model: WorkloadModel) -> OutlierDetection | None:
    stated = model.outlier_detection
    if stated is None:
        return None
    failures, rate = stated.failure_percentage, stated.success_rate
    return OutlierDetection(
        stated.interval_ns, stated.base_ejection_time_ns, stated.max_ejection_time_ns, stated.max_ejection_percent,
        None if failures is None else FailurePercentage(failures.threshold, failures.minimum_hosts, failures.request_volume),
        None if rate is None else SuccessRate(rate.stdev_factor, rate.minimum_hosts, rate.request_volume),
    )


def _multiplexing(model: WorkloadModel) -> Multiplexing | None:
    """How a workload's requests share connections; None where each has one to itself."""
    stated = model.connections.multiplexed
    if stated is None:
        return None
    pings, backoff = stated.keepalive, stated.backoff
    return Multiplexing(
        stated.max_streams, stated.when_full, stated.max_age_ns, stated.grace_ns,
        None if pings is None else (pings.time_ns, pings.timeout_ns),
        None if backoff is None else Reconnecting(
            backoff.base_delay_ns, backoff.multiplier, backoff.jitter, backoff.max_delay_ns
        ),
    )


def _from_text(source: From | None) -> str:
    if source is None:
        return "it"
    for kind in ("deployment", "daemonset", "statefulset", "pod", "node", "outside"):
        name = getattr(source, kind)
        if name is not None:
            return f"{kind}/{name}"
    return "its selector"
