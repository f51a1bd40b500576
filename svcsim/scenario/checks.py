"""References within a scenario: what a workload, fault or expectation names must exist, and fit.

What is surely wrong is a mistake with its place; what is only odd becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from svcsim.errors import InputError, Problem, UsageError
from svcsim.kube.api.ingress import Ingress, IngressClass
from svcsim.kube.api.service import Service, ServicePort
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.ingress_rules import CLASS_ANNOTATION, class_of, host_matches, is_own
from svcsim.kube.kinds import KubeObject
from svcsim.kube.service_registry import ServiceRegistry
from svcsim.kube.store import InvalidError
from svcsim.scenario.address import Destination
from svcsim.scenario.balancing import why_one_address
from svcsim.scenario.faults import Apply, Fault, Scale
from svcsim.scenario.history import mistakes_of_version, notes_of_version
from svcsim.scenario.model import Scenario
from svcsim.scenario.pending import pending_notes
from svcsim.scenario.places import Places
from svcsim.scenario.quantities import family_of
from svcsim.scenario.target import POD_OWNERS, Target
from svcsim.scenario.workload import From, Workload
from svcsim.spelling import nearest
from svcsim.units import duration_text
from svcsim.yamlsource import DataPath

CLUSTER_DNS = "kube-system/kube-dns"
"""The Service that every cluster has, whose pods svcsim adds. There is no API server behind default/kubernetes."""
NAMED = 5
"""So many names a note lists."""
_BOTH = "(kubernetes.serviceCIDR: 10.96.0.0/12,fd00:10:96::/112 gives a cluster both)"
Owner = Deployment | ReplicaSet | StatefulSet | ReplicationController | DaemonSet


def check(scenario: Scenario, places: Places, notes: list[str], *, all_read: bool = True) -> list[Problem]:
    """Every mistake that only the scenario as a whole shows; oddities are added to the notes.

    Unless all manifests could be read, what names an object that is not there is no mistake of its own.
    """
    return list(_Checks(scenario, places, notes, _Inventory.of(scenario.objects), all_read).all())


@dataclass(frozen=True, slots=True)
class _Inventory:
    """What there is, for quick questions: objects by kind and name, pods and templates of pods by label."""

    by_kind: dict[str, dict[str, KubeObject]]
    by_label: dict[tuple[str, str, str], list[dict[str, str]]]
    pods: list[tuple[str, dict[str, str]]]

    @classmethod
    def of(cls, objects: Iterable[KubeObject]) -> _Inventory:
        """The inventory of some objects."""
        found = cls({}, {}, [])
        for obj in objects:
            found.by_kind.setdefault(obj.kind.lower(), {})[obj.metadata.key] = obj
            if isinstance(obj, Owner) or obj.kind == "Pod":
                labels = obj.spec.template.metadata.labels if isinstance(obj, Owner) else obj.metadata.labels
                found.pods.append((obj.metadata.namespace, labels))
                for key, value in labels.items():
                    found.by_label.setdefault((obj.metadata.namespace, key, value), []).append(labels)
        return found

    def has_pod(self, namespace: str, labels: Iterable[tuple[str, str]]) -> bool:
        """Whether a pod, or what a controller makes pods from, has all of these labels (at least one)."""
        (key, value), *rest = labels
        candidates = self.by_label.get((namespace, key, value), ())
        return any(all(found.get(name) == wanted for name, wanted in rest) for found in candidates)


@dataclass(slots=True)
class _Checks:
    scenario: Scenario
    places: Places
    notes: list[str]
    there: _Inventory
    all_read: bool = True

    def all(self) -> Iterator[Problem]:
        """All mistakes."""
        mistake = self.scenario.kubernetes.version_mistake()
        if mistake is not None:
            asked = self.scenario.kubernetes.proxy.mode is not None
            yield self.places.problem(("kubernetes", "proxy", "mode") if asked else ("kubernetes", "version"), mistake)
        yield from self._discovery()
        yield from mistakes_of_version(self.scenario, self.scenario.origin.own, self.places)
        self.notes += notes_of_version(self.scenario, self.scenario.origin.own, self.places)
        try:
            node_names: tuple[str, ...] | None = self.scenario.node_names
        except ValueError as error:
            yield self.places.problem(("cluster", "nodes"), str(error))
            node_names = None
        yield from self._families()
        yield from self._unique_names()
        yield from self._workloads(node_names)
        yield from self._faults(node_names)
        yield from self._links(node_names)
        yield from self._routes(node_names)
        yield from self._expectations()
        yield from self._costs()
        yield from self._allocations()
        self._servers()
        self._ingress_controllers()
        if node_names is not None:
            self.notes += pending_notes(self.scenario.objects, self.scenario.nodes)

    # ---- what there is -----------------------------------------------------------------------------------------------

    def _of_kind(self, kind: str) -> dict[str, KubeObject]:
        return self.there.by_kind.get(kind, {})

    def _applied(self) -> set[tuple[str, str]]:
        """(kind, namespace/name) of what faults create later."""
        found = set()
        for fault in self.scenario.faults:
            found |= {(obj.kind.lower(), obj.metadata.key) for obj in self._objects_of(fault)}
        return found

    def _objects_of(self, fault: Fault) -> list[KubeObject]:
        try:
            return fault.parsed() if isinstance(fault, Apply) else []
        except InputError:
            return []  # told where the manifests were read

    def _text(self, fault: Fault) -> str:
        return fault.verb if isinstance(fault, Apply) else fault.text

    @property
    def _outside(self) -> list[str]:
        return [host.name for host in self.scenario.cluster.outside]

    def _owners(self) -> list[Owner]:
        return [obj for obj in self.scenario.objects if isinstance(obj, Owner)]

    # ---- names -------------------------------------------------------------------------------------------------------

    def _unique_names(self) -> Iterator[Problem]:
        scenario = self.scenario
        named: tuple[tuple[str, tuple[str | None, ...]], ...] = (
            ("workloads", tuple(workload.name for workload in scenario.workloads)),
            ("faults", tuple(fault.name for fault in scenario.faults)),
        )
        for part, names in named:
            for i, name in enumerate(names):
                if name is not None and name in names[:i]:
                    message = f"two {part} are called {name!r}"
                    yield self.places.problem((part, i, "name"), message)
        outside = self._outside
        for i, name in enumerate(outside):
            if name in outside[:i]:
                yield self.places.problem(("cluster", "outside", i, "name"), f"two hosts outside are called {name!r}")

    # ---- workloads ---------------------------------------------------------------------------------------------------

    def _workloads(self, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
        duration_ns = self.scenario.run.duration_ns
        for i, workload in enumerate(self.scenario.workloads):
            path: DataPath = ("workloads", i)
            namespace = workload.from_.namespace if workload.from_ else "default"
            if workload.from_ is not None:
                yield from self._sender(workload.from_, (*path, "from"), node_names)
            if workload.via is not None and workload.via.is_ingress:
                yield from self._published_by_an_ingress(workload, path)
            elif workload.via is not None:
                yield from self._destination(workload.via, namespace, (*path, "via"), node_names)
            elif workload.to is not None:
                yield from self._destination(workload.to, namespace, (*path, "to"), node_names)
            yield from self._family(workload, path)
            if workload.balancing is not None:
                self._balancing(workload, namespace)
            if workload.start_ns >= duration_ns:
                yield self.places.problem((*path, "start"), f"the run ends before, after {duration_text(duration_ns)}")
            if workload.connect_timeout_ns is not None and workload.connect_timeout_ns > workload.timeout_ns:
                self.notes.append(f"workload {workload.name}: connectTimeout is longer than timeout and never takes effect")

    def _balancing(self, workload: Workload, namespace: str) -> None:
        """Whether a client that balances has more than one address to choose from."""
        to = workload.target
        if to is None:
            return
        meant = to.services(namespace, self.scenario.kubernetes.dns.domain)
        key = next((key for key in meant if self._may_mean(key, meant[0])), None)
        service = self._of_kind("service").get("/".join(key)) if key is not None else None
        why = why_one_address(to, service if isinstance(service, Service) else None)
        if why:
            self.notes.append(f"workload {workload.name}: balancing has nothing to choose from: {why}")

    def _published_by_an_ingress(self, workload: Workload, path: DataPath) -> Iterator[Problem]:
        """Whether an Ingress, of now or later, is for the host that a workload asks."""
        later = (obj for fault in self.scenario.faults for obj in self._objects_of(fault))
        ingresses = [obj for obj in (*self._of_kind("ingress").values(), *later) if isinstance(obj, Ingress)]
        if workload.to is None or not self.all_read:
            return
        if not any(
            host_matches(rule.host, workload.to.host) for each in ingresses for rule in each.spec.rules
        ) and not any(each.spec.default_backend is not None for each in ingresses):
            hosts = dict.fromkeys(rule.host for each in ingresses for rule in each.spec.rules if rule.host)
            message = f"no Ingress is for the host {workload.to.host!r}{nearest(workload.to.host, hosts)}"
            yield self.places.problem((*path, "via"), message)

    def _sender(self, source: From, path: DataPath, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
        if source.outside is not None:
            if source.outside != "*" and source.outside not in self._outside:
                yield self.places.problem(path, _unknown("host outside", source.outside, self._outside, "cluster.outside"))
            elif not self._outside:
                yield self.places.problem(path, "there is no host outside (name one under cluster.outside)")
        elif source.node is not None:
            if source.node != "*" and node_names is not None and source.node not in node_names:
                yield self.places.problem(path, _unknown("node", source.node, node_names))
        elif source.labels is not None:
            if not self.there.has_pod(source.namespace, source.labels.items()):
                yield self.places.problem(path, f"no pod of namespace {source.namespace} has these labels")
        else:
            for kind in (*POD_OWNERS[:3], "pod"):
                name = getattr(source, kind)
                if name is not None:
                    yield from self._exists(Target(kind, name, source.namespace), path)

    def _destination(
        self, to: Destination, namespace: str, path: DataPath, node_names: tuple[str, ...] | None
    ) -> Iterator[Problem]:
        if to.node is not None and node_names is not None and to.node not in node_names:
            yield self.places.problem(path, _unknown("node", to.node, node_names))
        if to.is_address or to.host in self._outside:
            return
        services = self._of_kind("service")
        meant = to.services(namespace, self.scenario.kubernetes.dns.domain)
        key = next((key for key in meant if self._may_mean(key, meant[0])), meant[0] if meant else None)
        if key is None or (len(meant) == 1 and to.is_pod_of_foreign_service and "/".join(key) not in services):
            message = f"{to.host!r} is neither a Service's name (write 'web.default.svc') nor a host under cluster.outside"
            yield self.places.problem(path, message)
            return
        wanted = f"{key[0]}/{key[1]}"
        service = services.get(wanted)
        if isinstance(service, Service):
            yield from self._port(to, service, path)
            return
        if wanted == CLUSTER_DNS or ("service", wanted) in self._applied():
            return
        if not self.all_read or any(generator.has(*key) for generator in self.scenario.services):
            return
        elsewhere = [found for found in services if found.partition("/")[2] == key[1]]
        if elsewhere:
            message = f"there is no Service {key[1]!r} in namespace {key[0]!r}, but one in {elsewhere[0].partition('/')[0]!r}"
        elif to.host == "node" and to.path:
            node = to.path.strip("/").partition(":")[0]
            message = f"a node's port is written by the Service that has it, as nodePort://web:80?node={node[:60]}"
        else:
            names = [name.partition("/")[2] if name.startswith(f"{key[0]}/") else name for name in services]
            message = f"there is no Service {key[1]!r} in namespace {key[0]!r}{nearest(key[1], names)}"
        yield self.places.problem(path, message)

    def _may_mean(self, key: tuple[str, str], first: tuple[str, str]) -> bool:
        """Whether there is such a Service; in `a.b`, a headless one where its pod would be meant."""
        service = self._of_kind("service").get("/".join(key))
        return isinstance(service, Service) and (key == first or service.spec.is_headless)

    def _port(self, to: Destination, service: Service, path: DataPath) -> Iterator[Problem]:
        if to.is_variable_port:
            return
        ports = [port for port in service.spec.ports if to.port in (port.port, port.name)]
        name = service.metadata.name
        if not ports:
            if service.spec.type == "ExternalName" or (service.spec.is_headless and isinstance(to.port, int)):
                return
            meant = next((port for port in service.spec.ports if to.is_node_port and port.node_port == to.port), None)
            if meant is not None:
                message = f"{to.port} is the node port of port {meant.port}: write nodePort://{to.host}:{meant.port}"
            else:
                listed = ", ".join(_port_text(port) for port in service.spec.ports) or "none"
                message = f"Service {name} has no port {to.port} (it has {listed})"
            yield self.places.problem(path, message)
        elif to.protocol not in {port.protocol for port in ports}:
            message = f"port {to.port} of Service {name} is {ports[0].protocol}, and {to.scheme}:// is {to.protocol}"
            yield self.places.problem(path, message)
        if to.is_load_balancer and service.spec.type != "LoadBalancer":
            yield self.places.problem(path, f"Service {name} is of type {service.spec.type} and has no balancer")
        if to.is_node_port and service.spec.type not in {"NodePort", "LoadBalancer"}:
            yield self.places.problem(path, f"Service {name} is of type {service.spec.type} and has no node port")

    # ---- faults ------------------------------------------------------------------------------------------------------

    def _faults(self, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
        duration_ns = self.scenario.run.duration_ns
        for i, fault in enumerate(self.scenario.faults):
            if fault.at_ns >= duration_ns:
                self.notes.append(
                    f"faults[{i}] ({self._text(fault)}) comes at {duration_text(fault.at_ns)}, when the run of "
                    f"{duration_text(duration_ns)} is over"
                )
            path: DataPath = ("faults", i, fault.aim or fault.verb)
            targets = list(fault.targets)
            further = getattr(fault, "to", None)
            for target in (*targets, *(further if isinstance(further, tuple) else ())):
                at = path if target in targets else ("faults", i, "to")
                yield from self._target(target, at, node_names, fault)

    def _target(
        self, target: Target, path: DataPath, node_names: tuple[str, ...] | None, fault: Fault | None = None
    ) -> Iterator[Problem]:
        if target.labels:
            if target.kind == "pod" and not self.there.has_pod(target.namespace, target.labels):
                yield self.places.problem(path, f"no pod of namespace {target.namespace} has these labels")
            return
        if target.name == "*":
            return
        if target.kind == "node":
            if node_names is not None and target.name not in node_names:
                yield self.places.problem(path, _unknown("node", target.name, node_names))
        elif target.kind == "zone":
            zones = self._zones()
            if target.name not in zones:
                yield self.places.problem(path, _unknown("zone", target.name, zones))
        elif target.kind == "outside":
            if target.name not in self._outside:
                yield self.places.problem(path, _unknown("host outside", target.name, self._outside, "cluster.outside"))
        else:
            yield from self._exists(target, path, fault)

    def _zones(self) -> list[str]:
        zones = {node.zone: None for node in self.scenario.nodes if node.zone}
        zones |= {obj.zone: None for obj in self.scenario.objects if obj.kind == "Node" and obj.zone}
        return list(zones)

    def _exists(self, target: Target, path: DataPath, fault: Fault | None = None) -> Iterator[Problem]:
        """Whether an object exists, and the index of its pod."""
        objects = self._of_kind(target.kind)
        owner = objects.get(target.key)
        if owner is None:
            if not self.all_read:
                return
            if (target.kind, target.key) in self._applied() or self._made_later(target):
                return
            added = {f"{made['metadata']['namespace']}/{made['metadata']['name']}" for made in self.scenario.origin.added}
            names = [key.removeprefix("default/") for key in objects if key not in added]
            wanted = target.name if target.namespace == "default" else target.key
            yield self.places.problem(path, _unknown(target.kind, wanted, names))
        elif isinstance(owner, Deployment | StatefulSet | ReplicaSet | ReplicationController) and target.index is not None:
            scaled = any(isinstance(other, Scale) and other.scale.name == target.name for other in self.scenario.faults)
            if target.index >= owner.replicas and not scaled:
                message = f"{target.kind}/{target.name} has {owner.replicas} pods, [0] to [{owner.replicas - 1}]"
                yield self.places.problem(path, message if owner.replicas else f"{target.kind}/{target.name} has no pods")

    def _made_later(self, target: Target) -> bool:
        """Whether a controller makes the object, so that it can't be known yet: a pod, a ReplicaSet, a slice."""
        if target.kind == "pod":
            return any(
                target.namespace == owner.metadata.namespace and target.name.startswith(f"{owner.metadata.name}-")
                for owner in self._owners()
            )
        return target.kind in {"endpoints", "endpointslice", "replicaset"}

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def _routes(self, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
        for i, route in enumerate(self.scenario.cluster.network.routes):
            for j, name in enumerate(route.via):
                if node_names is not None and name not in node_names:
                    path: DataPath = ("cluster", "network", "routes", i, "via", j)
                    yield self.places.problem(path, _unknown("node", name, node_names))

    def _links(self, node_names: tuple[str, ...] | None) -> Iterator[Problem]:
        for i, link in enumerate(self.scenario.cluster.network.links):
            for j, end in enumerate(link.between):
                kind, slash, name = end.partition("/")
                path: DataPath = ("cluster", "network", "links", i, "between", j)
                if not slash or not name or kind not in {"node", "zone", "outside", "switch"}:
                    message = f"an end of a link is 'node/NAME', 'zone/NAME', 'outside/NAME' or 'switch/NAME', not {end[:60]!r}"
                    yield self.places.problem(path, message)
                elif kind != "switch":
                    yield from self._target(Target(kind, name), path, node_names)

    def _expectations(self) -> Iterator[Problem]:
        from svcsim.results.metrics import METRICS

        scenario = self.scenario
        workloads = [workload.name for workload in scenario.workloads]
        for i, expect in enumerate(scenario.expect):
            path: DataPath = ("expect", i)
            if expect.workload is not None and expect.workload not in workloads:
                yield self.places.problem((*path, "workload"), _unknown("workload", expect.workload, workloads))
            if not scenario.faults and METRICS[expect.metric].of_fault:
                yield self.places.problem(path, f"{expect.metric} is a figure of a fault, and the scenario has none")
                continue
            references = [expect.fault] if expect.fault is not None else []
            if expect.during is not None:
                ends = (expect.during.start, expect.during.end)
                references += [end.fault for end in ends if end is not None and end.fault is not None]
            if METRICS[expect.metric].of_fault and (late := self._late(expect.fault)):
                yield self.places.problem(path, f"{expect.metric} can't be measured: {late}")
                continue
            unknown = [reference for reference in references if scenario.fault_index(reference) is None]
            for reference in unknown:
                yield self.places.problem(path, self._no_fault(reference))
            if expect.during is not None and not unknown:
                start_ns, end_ns = scenario.window_ns(expect.during)
                start_ns = start_ns or 0
                if start_ns >= scenario.run.duration_ns or (end_ns is not None and end_ns <= start_ns):
                    length = duration_text(scenario.run.duration_ns)
                    message = f"nothing is sent in the window {expect.during} of a run of {length}"
                    yield self.places.problem((*path, "during"), message)

    def _late(self, reference: int | str | None) -> str:
        """Which fault never comes, the run being over before; of no reference, all of them. Empty if one comes."""
        index = None if reference is None else self.scenario.fault_index(reference)
        if reference is not None and index is None:
            return ""
        faults = self.scenario.faults if index is None else self.scenario.faults[index:index + 1]
        first = min(faults, key=lambda fault: fault.at_ns)
        length_ns = self.scenario.run.duration_ns
        if first.at_ns < length_ns:
            return ""
        which = "the first fault" if reference is None else f"fault[{reference}]"
        return f"{which} comes at {duration_text(first.at_ns)}, when the run of {duration_text(length_ns)} is over"

    def _no_fault(self, reference: int | str) -> str:
        faults = self.scenario.faults
        if isinstance(reference, int):
            last = f", [0] to [{len(faults) - 1}]" if faults else ""
            return f"there is no fault [{reference}] (there are {len(faults)}{last})"
        return _unknown("fault", reference, [fault.name for fault in faults if fault.name])

    def _families(self) -> Iterator[Problem]:
        """Families of IP that do not fit together."""
        kubernetes, cluster = self.scenario.kubernetes, self.scenario.cluster
        network = cluster.network
        pods, nodes = network.pod_families, network.node_families
        for family in kubernetes.families:
            if family not in pods:
                text = f"Services have {family} (serviceCIDR), but pods have no block of it: {','.join(network.pod_cidr)}"
                yield self.places.problem(("cluster", "network", "podCIDR"), text)
        for family in pods:
            if family not in nodes:
                text = f"pods have {family} (podCIDR), but nodes have no block of it: {','.join(network.node_cidr)}"
                yield self.places.problem(("cluster", "network", "nodeCIDR"), text)
        if set(pods) <= set(nodes) and pods[0] != nodes[0]:
            text = f"the first block is of the primary family, which nodes and pods share: pods have {pods[0]}, nodes {nodes[0]}"
            yield self.places.problem(("cluster", "network", "nodeCIDR"), text)
        given: list[tuple[DataPath, tuple[str, ...]]] = [
            (("cluster", "outside", i, "address"), host.address) for i, host in enumerate(cluster.outside)
        ]
        if cluster.nodes is not None:
            given += [(("cluster", "nodes", "address"), cluster.nodes.address or ())]
            pools = cluster.nodes.list
            given += [(("cluster", "nodes", "list", i, "address"), pool.address or ()) for i, pool in enumerate(pools)]
        for path, addresses in given:
            for address in addresses:
                if family_of(address) not in nodes:
                    yield self.places.problem(path, f"{address} is {family_of(address)}, and nodes have {nodes[0]} alone {_BOTH}")

    def _family(self, workload: Workload, path: DataPath) -> Iterator[Problem]:
        """A family that a workload asks for and its clients do not have."""
        wanted, to = workload.family, workload.target
        if wanted is None:
            return
        network = self.scenario.cluster.network
        source = workload.from_ or From(clients=1)
        there: Iterable[str] = network.pod_families if source.node is None else network.node_families
        if source.outside is not None:
            there = {family_of(each) for host in self.scenario.cluster.outside for each in host.address} or (wanted,)
        if wanted not in there:
            yield self.places.problem((*path, "family"), f"the clients have no address of {wanted} {_BOTH}")
        elif to is not None and to.is_address and not to.is_node_port and not to.is_ingress and family_of(to.host) != wanted:
            yield self.places.problem((*path, "family"), f"{to.host} is {family_of(to.host)}")

    def _allocations(self) -> Iterator[Problem]:
        """Cluster IPs and node ports that Services ask for and can't have, as the API server would say when it creates them."""
        registry = ServiceRegistry(self.scenario.kubernetes.service_cidr)
        dns = [str(ip_network(block).network_address + 10) for block in self.scenario.kubernetes.service_cidr]
        added = bool(self.scenario.workloads) and CLUSTER_DNS not in self._of_kind("service")
        own = self.scenario.origin.own
        for obj, (file, line) in zip(own.objects, own.places, strict=True):
            if not isinstance(obj, Service):
                continue
            if obj.metadata.uid:
                registry.take_over(obj)
            taken = next((address for address in dns if address in (obj.spec.cluster_ip, *obj.spec.cluster_ips)), None)
            if added and taken is not None:
                message = f"Service {obj.metadata.key}: {taken} is the address of cluster DNS, {CLUSTER_DNS}"
                yield Problem(file, line, 1, "", message)
            spec = obj.spec
            asks = spec.cluster_ips or spec.cluster_ip or spec.ip_families or any(port.node_port for port in spec.ports)
            try:
                if asks:
                    registry.create(obj)
            except InvalidError as error:
                text = str(error)
                yield Problem(file, line, 1, "", f"{text} {_BOTH}" if "configured" in text else text)

    def _costs(self) -> Iterator[Problem]:
        calibration = self.scenario.calibration
        try:
            profile = calibration.model_copy(update={"overrides": {}}).load()
        except UsageError as error:
            yield self.places.problem(("calibration", "profile"), str(error))
            return
        except InputError as error:
            yield from error.problems
            return
        for name, value in calibration.overrides.items():
            try:
                profile.with_overrides({name: value})
            except UsageError as error:
                yield self.places.problem(("calibration", "overrides", name), str(error))

    def _discovery(self) -> Iterator[Problem]:
        """What this version's cluster DNS does not have."""
        kubernetes = self.scenario.kubernetes
        mistake = kubernetes.dns_mistake()
        if mistake is not None:
            yield self.places.problem(("kubernetes", "dns", mistake[0]), mistake[1])
        message = kubernetes.external_name_mistake()
        own = self.scenario.origin.own
        for obj, (file, line) in zip(own.objects, own.places, strict=True) if message is not None else ():
            if isinstance(obj, Service) and obj.spec.type == "ExternalName":
                yield Problem(file, line, 1, "", f"Service {obj.metadata.key}: {message}")

    def _servers(self) -> None:
        pods = self.there.pods
        for i, servers in enumerate(self.scenario.servers):
            if pods and not any(servers.matches(namespace, labels) for namespace, labels in pods):
                self.notes.append(f"servers[{i}]: no pod has the labels {servers.match}")
        alone = [
            obj.metadata.key
            for obj in self._of_kind("service").values()
            if isinstance(obj, Service) and obj.spec.selector and obj.spec.type != "ExternalName"
            and not self.there.has_pod(obj.metadata.namespace, obj.spec.selector.items())
        ]
        if alone:
            names = ", ".join(alone[:NAMED]) + (f" and {len(alone) - NAMED} more" if len(alone) > NAMED else "")
            self.notes.append(f"no pod of the manifests is selected by: Service {names}")


    def _ingress_controllers(self) -> None:
        """Ingresses on which nobody acts, as an unknown class means."""
        declared = [servers.ingress for servers in self.scenario.servers if servers.ingress is not None]
        classes = {name: obj for name, obj in self._of_kind("ingressclass").items() if isinstance(obj, IngressClass)}
        for ingress in self._of_kind("ingress").values():
            if isinstance(ingress, Ingress) and not any(
                is_own(ingress, classes, each.class_, each.controller, without_class=each.watch_ingress_without_class)
                for each in declared
            ):
                named = class_of(ingress, classes.values())
                what = f"its class {named!r}" if named else "an Ingress without class"
                if declared and named and not ingress.metadata.annotations.get(CLASS_ANNOTATION) and named not in classes:
                    why = f"there is no IngressClass {named!r}"
                else:
                    why = f"no entry of servers is the ingress controller of {what}"
                self.notes.append(f"nobody acts on Ingress {ingress.metadata.key}: {why}")


def _unknown(what: str, name: str, valid: Iterable[str], where: str = "") -> str:
    return f"there is no {what} {name!r}{nearest(name, valid)}" + (f" under {where}" if where else "")


def _port_text(port: ServicePort) -> str:
    return f"{port.port}/{port.protocol}" + (f" {port.name!r}" if port.name else "")
