"""kube-proxy in IPVS mode, for one node and one address family.

What a Service port asks for is a programme, shared by all nodes (`ipvs_programme`, `ipvs_contents`). A virtual server of it comes
into the node's IPVS table when the first packet asks for it: until then it has no state that anyone could see. From then
on each sync brings it in line: endpoints are added with weight 1, and let go gracefully.

Every sync of IPVS mode walks all Services, but writes only what changed.

Source: pkg/proxy/ipvs/proxier.go, `syncProxyRules`, `syncService`, `syncEndpoint`, `cleanLegacyService` (kubernetes 1.30 to
1.34).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from svcsim.kubeproxy import ipvs_sets as sets
from svcsim.kubeproxy.change_tracker import ChangeTracker
from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.graceful_termination import GracefulTermination
from svcsim.kubeproxy.ipvs_contents import ContentsPool
from svcsim.kubeproxy.ipvs_programme import Destination, Programme, ProgrammeLibrary, VirtualServer
from svcsim.kubeproxy.ipvs_rules import ruleset
from svcsim.kubeproxy.ipvs_sets import Ipset, IpsetEntry, Membership, is_valid_for_set, set_name
from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.sync_loop import Prepared
from svcsim.linux.address import Address, Prefix, is_ipv6
from svcsim.linux.ipvs.keys import service_key
from svcsim.linux.ipvs.services import VirtualService
from svcsim.linux.ipvs.table import IpvsTable
from svcsim.linux.netfilter.rules import Ruleset
from svcsim.linux.packet import SCTP, TCP

Order = Callable[[Sequence[EndpointInfo]], Iterable[EndpointInfo]]
"""In which order new endpoints are added: kube-proxy takes that of a Go map, which is random; the last one is first in IPVS."""

_MEMBERSHIP_SETS = (
    (Membership.CLUSTER_IP, sets.CLUSTER_IP),
    (Membership.EXTERNAL_IP, sets.EXTERNAL_IP),
    (Membership.EXTERNAL_IP_LOCAL, sets.EXTERNAL_IP_LOCAL),
    (Membership.LOAD_BALANCER, sets.LOAD_BALANCER),
    (Membership.LOAD_BALANCER_LOCAL, sets.LOAD_BALANCER_LOCAL),
    (Membership.LOAD_BALANCER_FIREWALL, sets.LOAD_BALANCER_FW),
)


class IpvsLibrary:
    """What the IPVS proxiers of one family share."""

    def __init__(self) -> None:
        self.programmes = ProgrammeLibrary()
        self.pool = ContentsPool()


def node_addresses(settings: ProxySettings) -> tuple[Address, ...]:
    """The node's own addresses as kube-proxy sees them: all interfaces but kube-ipvs0, without loopback and link-local."""
    return tuple(one for one in settings.local_ips if is_valid_for_set(one, ipv6=settings.is_ipv6))


def node_port_addresses(settings: ProxySettings) -> tuple[Address, ...]:
    """The addresses on which node ports get virtual servers."""
    own = node_addresses(settings)
    if settings.serves_every_nodeport_address:
        return own
    return tuple(one for one in own if any(one in block for block in settings.family_nodeport_addresses))


def _as_given(endpoints: Sequence[EndpointInfo]) -> Iterable[EndpointInfo]:
    return endpoints


class IpvsProxier:
    """One node's kube-proxy: a sync takes over what the tracker has seen; `table` is the kernel's IPVS that it writes.

    `exclude_cidrs` are left alone when virtual servers that nobody asks for are removed. `clock` tells the time of a commit
    (without it, that of its preparation). The owner calls `check_terminating` each minute. Without `graceful` a real
    server goes at once and takes its connections along, as up to Kubernetes 1.11 (pull request 66012).
    """

    def __init__(
        self, settings: ProxySettings, tracker: ChangeTracker, library: IpvsLibrary, table: IpvsTable, *,
        order: Order = _as_given, exclude_cidrs: tuple[Prefix, ...] = (), clock: Callable[[], int] | None = None,
        graceful: bool = True,
    ) -> None:
        self.settings = settings
        self.tracker = tracker
        self.library = library
        self.table = table
        self.exclude_cidrs = exclude_cidrs
        self.contents = library.pool.take()
        self.terminating = GracefulTermination(table)
        self.node_addresses = frozenset(node_addresses(settings))
        self.node_port_addresses = node_port_addresses(settings)
        self.live: dict[Destination, VirtualService] = {}
        self.needs_full_sync = True
        self.generation = 0
        self._initial = True
        self._order = order
        self._clock = clock
        self._graceful = graceful
        self._flags = ("mh-port",) if settings.scheduler == "mh" else ()

    # ---- sync --------------------------------------------------------------------------------------------------------

    def prepare(self, now_ns: int, *, full: bool = False) -> Prepared:
        """Take over all that is pending and work out what IPVS has to hold; packets see it once it is committed."""
        changes = self.tracker.checkout()
        full = full or self.needs_full_sync
        self.needs_full_sync = False
        known = self.contents.programmes
        programmes, settings = self.library.programmes, self.settings
        wanted: dict[ServicePortName, Programme | None] = {}
        for key in self.tracker.services if full else changes.keys:
            ports = self.tracker.services.get(key) or {}
            endpoints = self.tracker.endpoints_of(key) if ports else {}
            for name, port in ports.items():
                wanted[name] = programmes.programme(port, endpoints.get(name, ()), settings)
        for name in known if full else [name for key in changes.services for name in self.contents.ports.get(key, ())]:
            if name not in wanted:
                wanted[name] = None
        objects = self.objects
        for name, programme in wanted.items():
            before = known.get(name)
            if before is not programme:
                objects += (self._weight(programme) if programme else 0) - (self._weight(before) if before else 0)
        services = len({name.service_key for name in wanted})
        clock = self._clock
        return Prepared(
            changes, full, services, objects, lambda: self._commit(wanted, clock() if clock else now_ns, full=full)
        )

    def sync(self, now_ns: int, *, full: bool = False) -> Prepared:
        """Prepare and commit at once."""
        prepared = self.prepare(now_ns, full=full)
        prepared.commit()
        return prepared

    def _commit(self, wanted: dict[ServicePortName, Programme | None], now_ns: int, *, full: bool) -> None:
        before = self.contents.programmes
        touched: dict[Destination, None] = dict.fromkeys(self.live)
        if not full:
            pairs = [(before.get(name), programme) for name, programme in wanted.items()]
            touched = self._touched(pairs)
        self.contents = self.library.pool.step(self.contents, wanted)
        if full:
            self._clean_up(now_ns)
        for destination in touched:
            self._reconcile(destination, now_ns)
        self._initial = False
        self.generation += 1

    def _touched(self, pairs: Iterable[tuple[Programme | None, Programme | None]]) -> dict[Destination, None]:
        touched: dict[Destination, None] = {}
        for pair in pairs:
            for programme in pair:
                for server in programme.servers if programme else ():
                    for address in (server.address,) if server.address else self.node_port_addresses:
                        touched[address, server.protocol, server.port] = None
        return touched

    def _weight(self, programme: Programme) -> int:
        return programme.objects + programme.node_port_objects * len(self.node_port_addresses)

    @property
    def objects(self) -> int:
        """Virtual and real servers that the node holds."""
        contents = self.contents
        return contents.objects + contents.node_port_objects * len(self.node_port_addresses)

    def _clean_up(self, now_ns: int) -> None:
        """Virtual servers of the family that are in the table and that no Service asks for (cleanLegacyService)."""
        for service in list(self.table.services.values()):
            destination = (service.address, service.protocol, service.port)
            foreign = is_ipv6(service.address) != self.settings.is_ipv6
            if foreign or any(service.address in block for block in self.exclude_cidrs):
                continue
            if self.wanted(destination) is None:
                self._delete(destination, service, now_ns)
            elif destination not in self.live:
                self.live[destination] = service
                self._reconcile(destination, now_ns)

    def _reconcile(self, destination: Destination, now_ns: int) -> None:
        """Bring a virtual server that is in the table in line (syncService, syncEndpoint)."""
        service = self.live.get(destination)
        if service is None:
            return
        wanted = self.wanted(destination)
        if wanted is None:
            self._delete(destination, service, now_ns)
            return
        same = service.scheduler_name == self.settings.scheduler and service.flags == self._flags
        if not same or service.persistence_ns != wanted.persistence_ns:
            self.table.edit_service(
                service, self.settings.scheduler, flags=self._flags, persistence_ns=wanted.persistence_ns
            )
        current = {(server.address, server.port): server for server in service.servers}
        kept = {(each.address, each.port) for each in wanted.endpoints}
        for endpoint in self._order(wanted.endpoints):
            server = current.get((endpoint.address, endpoint.port))
            if server is not None:
                if self._initial and server.weight != 1:
                    self.table.edit_server(server, 1)
                if server not in self.terminating:
                    continue
                self.terminating.take_back(server, now_ns)
            self.table.add_server(service, endpoint.address, endpoint.port, 1, now_ns)
        for place, server in current.items():
            if place in kept or server in self.terminating:
                continue
            if self._graceful:
                self.terminating.delete(server, now_ns)
            else:
                self.table.delete_server(server, now_ns)

    def _delete(self, destination: Destination, service: VirtualService, now_ns: int) -> None:
        """A virtual server takes its real servers along, draining or not."""
        self.live.pop(destination, None)
        for server in service.servers:
            self.terminating.discard(server)
        self.table.delete_service(service, now_ns)

    def check_terminating(self, now_ns: int) -> int:
        """What kube-proxy does each minute: delete drained real servers without connections; tells how many."""
        return len(self.terminating.check(now_ns))

    def restart(self) -> None:
        """kube-proxy starts again: the kernel keeps its state, the list of those that drain is forgotten."""
        self.terminating.forget()
        self.live.clear()
        self.needs_full_sync = self._initial = True

    def forget(self) -> None:
        """The node lost power: its IPVS is empty, and the next sync is a full one."""
        self.restart()
        self.table.flush()
        self.library.pool.release(self.contents)
        self.contents = self.library.pool.take()
        self.generation += 1

    # ---- what there is -----------------------------------------------------------------------------------------------

    def wanted(self, destination: Destination) -> VirtualServer | None:
        """The virtual server that Services ask for at this destination, node ports on each of the node's addresses."""
        found = self.contents.destinations.get(destination)
        if found is None and destination[0] in self.node_port_addresses:
            found = self.contents.destinations.get((0, destination[1], destination[2]))
        return found

    def service(self, destination: Destination, wanted: VirtualServer, now_ns: int) -> VirtualService:
        """The virtual server in the kernel's table; made now if no packet has asked for it before."""
        service = self.live.get(destination)
        if service is None:
            address, protocol, port = destination
            # What the kernel kept over a restart of kube-proxy serves on, and is taken over by the first sync.
            kept = self.table.services.get(service_key(protocol, address, port))
            if kept is not None:
                return kept
            service = self.live[destination] = self.table.add_service(
                protocol, Address(address), port, self.settings.scheduler, flags=self._flags,
                persistence_ns=wanted.persistence_ns,
            )
            for endpoint in self._order(wanted.endpoints):
                self.table.add_server(service, endpoint.address, endpoint.port, 1, now_ns)
        return service

    def destinations(self) -> list[Destination]:
        """All virtual servers, sorted."""
        found = []
        for address, protocol, port in self.contents.destinations:
            for own in (address,) if address else self.node_port_addresses:
                found.append((own, protocol, port))
        return sorted(set(found))

    def make_all(self, now_ns: int) -> None:
        """Put all virtual servers into the table, as `ipvsadm` would list them."""
        for destination in self.destinations():
            wanted = self.wanted(destination)
            if wanted is not None:
                self.service(destination, wanted, now_ns)

    def bound_addresses(self) -> tuple[int, ...]:
        """The addresses of kube-ipvs0, sorted: virtual addresses that are not the node's own."""
        return tuple(sorted(address for address in self.contents.bound if address not in self.node_addresses))

    def filled_sets(self) -> frozenset[Ipset]:
        """The sets that are not empty."""
        counts = self.contents.memberships
        filled = {ipset for membership, ipset in _MEMBERSHIP_SETS if membership in counts}
        if sets.LOAD_BALANCER_FW in filled:
            filled.add(sets.LOAD_BALANCER_SOURCE_CIDR)
        if "allow from node" in counts:
            filled.add(sets.LOAD_BALANCER_SOURCE_IP)
        if self.node_port_addresses:
            for protocol, (ports, local_ports) in sets.NODE_PORT_SETS.items():
                if protocol in counts:
                    filled.add(ports)
                if (protocol, "local") in counts:
                    filled.add(local_ports)
        if self.contents.health_checks:
            filled.add(sets.HEALTH_CHECK_NODE_PORT)
        if self.contents.local_nodes.get(self.settings.node_name):
            filled.add(sets.LOOP_BACK)
        if any(address not in self.node_addresses for address in self.contents.bound):
            filled.add(sets.IPVS_IPS)
        return frozenset(filled)

    def ipsets(self) -> dict[str, list[IpsetEntry]]:
        """The entries of every set by its name, sorted by their text."""
        found: dict[Ipset, set[IpsetEntry]] = {ipset: set() for ipset in sets.IPSETS}
        for programme in self.contents.programmes.values():
            self._add_entries(programme, found)
        found[sets.IPVS_IPS] = {IpsetEntry(address) for address in self.bound_addresses()}
        ipv6 = self.settings.is_ipv6
        return {set_name(ipset, ipv6=ipv6): sorted(entries, key=str) for ipset, entries in found.items()}

    def _add_entries(self, programme: Programme, found: dict[Ipset, set[IpsetEntry]]) -> None:
        protocol = programme.port.protocol_number
        for each in programme.endpoints:
            if each.is_local(self.settings.node_name) and each.port:
                found[sets.LOOP_BACK].add(IpsetEntry(each.address, each.port, protocol, each.address))
        for server in programme.servers:
            if not server.address:
                self._add_node_port(server, found)
                continue
            entry = IpsetEntry(server.address, server.port, protocol)
            for membership, ipset in _MEMBERSHIP_SETS:
                if membership & server.membership:
                    found[ipset].add(entry)
            for block in server.source_ranges:
                found[sets.LOAD_BALANCER_SOURCE_CIDR].add(entry._replace(net=block))
            if server.source_ranges and server.allow_from_node:
                found[sets.LOAD_BALANCER_SOURCE_IP].add(entry._replace(address2=server.address))
        if programme.port.health_check_node_port:
            found[sets.HEALTH_CHECK_NODE_PORT].add(IpsetEntry(port=programme.port.health_check_node_port, protocol=TCP))

    def _add_node_port(self, server: VirtualServer, found: dict[Ipset, set[IpsetEntry]]) -> None:
        if not self.node_port_addresses:
            return
        entries = [IpsetEntry(port=server.port, protocol=server.protocol)]
        if server.protocol == SCTP:
            entries = [IpsetEntry(address, server.port, SCTP) for address in self.node_port_addresses]
        ports, local_ports = sets.NODE_PORT_SETS[server.protocol]
        found[ports].update(entries)
        if server.policy_local:
            found[local_ports].update(entries)

    def no_node_access(self) -> list[Destination]:
        """Balancer addresses with source ranges that leave out the node: it must not use them itself."""
        return sorted(
            server.destination
            for programme in self.contents.programmes.values()
            for server in programme.servers
            if server.source_ranges and not server.allow_from_node
        )

    def rules(self) -> Ruleset:
        """The iptables rules."""
        no_node_access = self.no_node_access() if Membership.LOAD_BALANCER_FIREWALL in self.contents.memberships else ()
        return ruleset(self.settings, self.filled_sets(), no_node_access)
