"""What kube-proxy's nftables mode writes for one Service port: chains, affinity sets and map elements, as one immutable value.

A programme depends on the port, on the endpoints that the node uses for it, and on a few settings; nodes that agree in these
share it by identity, and with it what has been compiled from it. Rule text is made from it when asked for.

Source: pkg/proxy/nftables/proxier.go, `syncProxyRules` and `writeServiceToEndpointRules` (kubernetes 1.31 to 1.34).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.nftables_names import (
    CLUSTER_IPS,
    FIREWALL_IPS,
    MARK_FOR_MASQUERADE,
    NO_ENDPOINT_NODEPORTS,
    NO_ENDPOINT_SERVICES,
    REJECT_CHAIN,
    SERVICE_IPS,
    SERVICE_NODEPORTS,
    endpoint_base,
    service_base,
)
from svcsim.kubeproxy.service_ports import ServicePortInfo, ServicePortName
from svcsim.kubeproxy.topology import Endpoints
from svcsim.linux.address import Address, Prefix
from svcsim.linux.nftables.ruleset import (
    AddressMatch,
    Chain,
    DnatStatement,
    Element,
    Expression,
    Key,
    LocalMatch,
    PortMatch,
    ProtocolMatch,
    RandomVerdict,
    Rule,
    SetDeclaration,
    SetMatch,
    UpdateStatement,
    Verdict,
)
from svcsim.linux.nftables.specialise import Residue, Specialiser

_MARK = Verdict("jump", MARK_FOR_MASQUERADE)


@dataclass(frozen=True, slots=True)
class Flavour:
    """The settings that programmes depend on.

    `pods` is the block that tells pods' traffic (None: nothing can). `matches_port_again` is how versions before 1.34 wrote the
    masquerading rule of a cluster IP: with protocol and port besides the address.
    """

    is_ipv6: bool = False
    masquerade_all: bool = False
    pods: Prefix | None = None
    matches_port_again: bool = False


@dataclass(slots=True, eq=False)
class Entry:
    """An element of a set or map as it stands in a table, with what its verdict leads to, and that compiled."""

    element: Element
    owner: ServicePortName
    chains: dict[str, Chain]
    sets: dict[str, SetDeclaration]
    residue: Residue | None = None

    def compile(self, base_chains: Mapping[str, Chain]) -> Residue:
        """The outcome behind the element, for the first packet that meets it; `base_chains` stand beside the port's own."""
        key, verdict = self.element.key, self.element.verdict
        if verdict is None or verdict.kind != "goto":
            raise TypeError(f"an element of {self.element.set_name} leads to no chain")
        address = key[0] if len(key) == 3 else None
        chains = {**base_chains, **self.chains}
        self.residue = Specialiser(chains, self.sets, address, key[-2], key[-1]).chain(verdict.chain)
        return self.residue


@dataclass(slots=True, eq=False, weakref_slot=True)
class Programme:
    """The objects of one Service port. `rules` is the number of rules in all its chains; `signature` is its own.

    `no_local_internal` and `no_local_external`: other nodes have endpoints, but this one has none that the policy allows.
    """

    name: ServicePortName
    chains: dict[str, Chain]
    sets: dict[str, SetDeclaration]
    entries: tuple[Entry, ...]
    rules: int
    signature: int
    no_local_internal: bool = False
    no_local_external: bool = False


def build(
    port: ServicePortInfo, endpoints: Endpoints, flavour: Flavour, serial: int = 0, *, allow_from_node: bool = False
) -> Programme:
    """The programme of a Service port. `allow_from_node`: the node's own address lies within the port's source ranges."""
    writer = _Writer(port, endpoints, flavour, allow_from_node)
    writer.write()
    chains = {name: Chain(name, tuple(rules)) for name, rules in writer.rules.items()}
    entries = tuple(Entry(element, port.name, chains, writer.sets) for element in writer.elements.values())
    return Programme(
        port.name,
        chains,
        writer.sets,
        entries,
        sum(map(len, writer.rules.values())),
        _mix(serial),
        no_local_internal=endpoints.has_any and port.internal_policy_local and not endpoints.local,
        no_local_external=endpoints.has_any and port.external_policy_local and not endpoints.local,
    )


def _mix(serial: int) -> int:
    """A number that tells sets of programmes apart by their sum (three rounds of splitmix64, two lanes)."""
    lanes = 0
    for lane in (0x9E3779B97F4A7C15, 0xD1342543DE82EF95):
        value = (serial + 1) * lane & 0xFFFFFFFFFFFFFFFF
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        value = (value ^ value >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        lanes = lanes << 64 | (value ^ value >> 31)
    return lanes


@dataclass(slots=True)
class _Writer:
    """Writes the rules and elements of one Service port in kube-proxy's order."""

    port: ServicePortInfo
    endpoints: Endpoints
    flavour: Flavour
    allow_from_node: bool
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    sets: dict[str, SetDeclaration] = field(default_factory=dict)
    elements: dict[tuple[str, Key], Element] = field(default_factory=dict)

    def add(self, chain: str, *expressions: Expression, comment: str = "") -> None:
        self.rules[chain].append(Rule(expressions, comment))

    def write(self) -> None:
        port, endpoints = self.port, self.endpoints
        base = service_base(port.name)
        cluster, local, external, firewall = f"service-{base}", f"local-{base}", f"external-{base}", f"firewall-{base}"
        has_local, uses_cluster = bool(endpoints.local), bool(endpoints.cluster) and port.uses_cluster_endpoints
        has_internal = endpoints.has_any and (not port.internal_policy_local or has_local)
        has_external = endpoints.has_any and (not port.external_policy_local or has_local)
        uses_external_chain = endpoints.has_any and port.externally_accessible
        uses_firewall = bool(port.load_balancer_vips and port.source_ranges)
        for name, used in (
            (cluster, uses_cluster),
            (local, has_local and port.uses_local_endpoints),
            (external, uses_external_chain),
            (firewall, uses_firewall),
        ):
            if used:
                self.rules[name] = []
        for endpoint in endpoints.reachable:
            self.rules[f"endpoint-{self.base_of(endpoint)}"] = []

        internal_chain = local if port.internal_policy_local else cluster
        self.write_elements(internal_chain, external, firewall, has_internal, has_external, uses_firewall)
        if has_internal:
            self.write_internal(internal_chain)
        if uses_external_chain:
            policy_chain = local if port.external_policy_local else cluster
            self.write_external(external, cluster, policy_chain if has_external else "")
        if uses_firewall:
            vips = tuple(Prefix(vip, 128 if self.flavour.is_ipv6 else 32) for vip in port.load_balancer_vips)
            sources = port.source_ranges + (vips if self.allow_from_node else ())
            self.add(firewall, AddressMatch("saddr", sources, negated=True, braced=True), Verdict("drop"))
        if cluster in self.rules:
            self.write_choice(cluster, endpoints.cluster or ())
        if local in self.rules:
            self.write_choice(local, endpoints.local or ())
        for endpoint in endpoints.reachable:
            self.write_endpoint(endpoint)

    def base_of(self, endpoint: EndpointInfo) -> str:
        return endpoint_base(self.port.name, endpoint.address, endpoint.port)

    def write_elements(
        self, internal: str, external: str, firewall: str, has_internal: bool, has_external: bool, uses_firewall: bool
    ) -> None:
        port, comment = self.port, str(self.port.name)
        refusal = Verdict("drop") if self.endpoints.has_any else Verdict("goto", REJECT_CHAIN)
        protocol = port.protocol_number

        def element(set_name: str, key: Key, verdict: Verdict | None = None, note: str = "") -> None:
            self.elements[set_name, key] = Element(set_name, key, verdict, note)

        element(CLUSTER_IPS, (port.cluster_ip,))
        key = (port.cluster_ip, protocol, port.port)
        if has_internal:
            element(SERVICE_IPS, key, Verdict("goto", internal))
        else:
            element(NO_ENDPOINT_SERVICES, key, refusal, comment)

        def outside(address: Address) -> None:
            key = (address, protocol, port.port)
            if self.endpoints.has_any:
                element(SERVICE_IPS, key, Verdict("goto", external))
            if not has_external:
                element(NO_ENDPOINT_SERVICES, key, refusal, comment)

        for address in port.external_ips:
            outside(address)
        for address in port.load_balancer_vips:
            outside(address)
            if uses_firewall:
                element(FIREWALL_IPS, (address, protocol, port.port), Verdict("goto", firewall))
        if port.node_port:
            if self.endpoints.has_any:
                element(SERVICE_NODEPORTS, (protocol, port.node_port), Verdict("goto", external))
            if not has_external:
                element(NO_ENDPOINT_NODEPORTS, (protocol, port.node_port), refusal, comment)

    def write_internal(self, chain: str) -> None:
        """Masquerade what comes from outside the cluster to the cluster IP: the answer may have to pass this node again."""
        port, pods = self.port, self.flavour.pods
        if not self.flavour.masquerade_all and pods is None:
            return
        whole = 128 if self.flavour.is_ipv6 else 32
        expressions: list[Expression] = [AddressMatch("daddr", (Prefix(port.cluster_ip, whole),))]
        if self.flavour.matches_port_again:
            expressions.append(PortMatch(port.protocol_number, port.port))
        if not self.flavour.masquerade_all and pods is not None:
            expressions.append(AddressMatch("saddr", (pods,), negated=True))
        self.add(chain, *expressions, _MARK)

    def write_external(self, chain: str, cluster_chain: str, policy_chain: str) -> None:
        """Traffic to node ports, external and balancer addresses; pods and the node itself always get Cluster semantics."""
        if not self.port.external_policy_local:
            self.add(chain, _MARK)
        else:
            if self.flavour.pods is not None:
                pods = AddressMatch("saddr", (self.flavour.pods,))
                self.add(chain, pods, Verdict("goto", cluster_chain), comment="short-circuit pod traffic")
            self.add(chain, LocalMatch("saddr"), _MARK, comment="masquerade local traffic")
            self.add(chain, LocalMatch("saddr"), Verdict("goto", cluster_chain), comment="short-circuit local traffic")
        if policy_chain:
            self.add(chain, Verdict("goto", policy_chain))

    def write_choice(self, chain: str, endpoints: tuple[EndpointInfo, ...]) -> None:
        """The endpoint that remembers the client, else one at random."""
        bases = [self.base_of(endpoint) for endpoint in endpoints]
        if self.port.affinity_seconds is not None:
            for base in bases:
                self.add(chain, SetMatch("saddr", f"affinity-{base}"), Verdict("goto", f"endpoint-{base}"))
        self.add(chain, RandomVerdict(tuple(Verdict("goto", f"endpoint-{base}") for base in bases)))

    def write_endpoint(self, endpoint: EndpointInfo) -> None:
        """Masquerade a client that would talk to itself, remember it, translate."""
        base = self.base_of(endpoint)
        chain, whole = f"endpoint-{base}", 128 if self.flavour.is_ipv6 else 32
        self.add(chain, AddressMatch("saddr", (Prefix(endpoint.address, whole),)), _MARK)
        if self.port.affinity_seconds is not None:
            name = f"affinity-{base}"
            kind = "ipv6_addr" if self.flavour.is_ipv6 else "ipv4_addr"
            self.sets[name] = SetDeclaration(name, (kind,), dynamic=True, timeout_s=self.port.affinity_seconds)
            self.add(chain, UpdateStatement(name))
        self.add(chain, ProtocolMatch(self.port.protocol_number), DnatStatement(endpoint.address, endpoint.port))
