"""A node's iptables rules compiled: what they do with a first packet, and how many the kernel examines, without examining them.

The two frequent cases, a cluster IP whose endpoint is chosen by chance and no Service at all, are worked out once between two
syncs and then looked up. Everything else (external addresses, node ports, affinity, refusals) takes the general
way, which follows the chains list by list. All agree with the walk of the rules in outcome, counts and `recent` lists.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from svcsim.kubeproxy import iptables_base as base_rules
from svcsim.kubeproxy.iptables_entries import Arrival, Hit, PolicyChain
from svcsim.kubeproxy.iptables_list import LIST_KINDS, ListBase, ListKind, Placed, RuleList
from svcsim.kubeproxy.iptables_programme import LOOPBACK_KEY, Programme, Swap, address_key
from svcsim.kubeproxy.iptables_programmes import SharedBase
from svcsim.kubeproxy.iptables_ruleset import SERVICE_CHAINS, whole_ruleset
from svcsim.kubeproxy.service_ports import ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.shared_map import SharedMap
from svcsim.linux.netfilter.recent import RecentState
from svcsim.linux.netfilter.rules import Destination, Table
from svcsim.linux.netfilter.walk import KernelState, walk
from svcsim.linux.packet import TCP, Decision, Hook, Packet, Step, Verdict

_PREROUTING = int(Hook.PREROUTING)
_NO_MATCH, _DNAT = Verdict.NO_MATCH, Verdict.DNAT
_IPV6_LOOPBACK = (1 << 128) | 1


def is_loopback(address: int) -> bool:
    """Whether an address of either family belongs to the loopback interface."""
    return address >> 24 == 127 or address == _IPV6_LOOPBACK


class _Choice:
    """What became of earlier packets to a cluster IP, by the endpoint that chance chose: from sources inside the block that the
    chain's masquerade rule spares, and from all others.
    """

    __slots__ = ("chain", "inside", "outside")

    def __init__(self, chain: PolicyChain) -> None:
        self.chain = chain
        self.inside: list[Decision | None] = [None] * len(chain.endpoints)
        self.outside: list[Decision | None] = [None] * len(chain.endpoints)


class IptablesTable:
    """The rules of one node and the state that they keep: a `FirstPacketPath`. Without a sync it has only the base rules.

    `apply` exchanges programmes and writes the shared chains anew; `adopt` starts over from what nodes share.
    """

    def __init__(self, settings: ProxySettings) -> None:
        self.settings = settings
        self.recent = RecentState()
        self.programmes: SharedMap[ServicePortName, Programme] = SharedMap()
        self.lists: dict[ListKind, RuleList] = {kind: RuleList(ListBase(), None) for kind in LIST_KINDS}
        self.services = self.lists["services"]
        self.node_ports = self.lists["node_ports"]
        self.local_addresses = frozenset((*settings.local_ips, settings.node_ip)) | {_IPV6_LOOPBACK}
        self.node_port_jumps = base_rules.node_port_jumps(settings)
        self._jump_addresses = tuple(
            match.block.base
            for rule in self.node_port_jumps
            for match in rule.matches
            if isinstance(match, Destination) and not match.negated
        )
        self._any_address = settings.serves_every_nodeport_address
        self._loopback_served = settings.localhost_nodeports and not settings.is_ipv6
        self._guards_loopback = len(base_rules.kubelet_firewall(settings))
        self._forward_rules = len(base_rules.forward(settings))
        self._ruleset: dict[str, Table] | None = None
        self._refresh(None)

    def adopt(self, base: SharedBase) -> None:
        """Forget all programmes and take the shared ones; `apply` must follow."""
        self.programmes = SharedMap(base.programmes)
        self.lists = {kind: RuleList(base.lists[kind], None) for kind in LIST_KINDS}
        self.services = self.lists["services"]
        self.node_ports = self.lists["node_ports"]
        if self.recent.lists:
            kept = {name for programme in self.programmes.values() for name in programme.affinity_lists}
            self.recent.forget([name for name in self.recent.lists if name not in kept])

    def apply(self, swaps: Mapping[ServicePortName, Swap], order: int | None) -> None:
        """Exchange programmes, all at one instant, and write the shared chains anew in an order (None: sorted).

        A `recent` list lives as long as a rule refers to it.
        """
        for name, (old, new) in swaps.items():
            if old is new:
                continue
            for kind in LIST_KINDS:
                self.lists[kind].swap(
                    old.listed[kind] if old is not None else (), new.listed[kind] if new is not None else ()
                )
            if new is not None:
                self.programmes[name] = new
            else:
                del self.programmes[name]
            if old is not None and old.info.affinity_seconds is not None:
                kept = new.affinity_lists if new is not None else ()
                self.recent.forget([each for each in old.affinity_lists if each not in kept])
        self._refresh(order)

    def ruleset(self) -> dict[str, Table]:
        """The rules themselves, all of them, as of the last sync."""
        if self._ruleset is None:
            self._ruleset = whole_ruleset(self.settings, self.lists, self.programmes.values())
        return self._ruleset

    def walk(self, packet: Packet, uniform: float, now_ns: int) -> tuple[Decision, list[Step]]:
        """What `decide` says, by examining rule after rule; `recent` lists change as in the kernel."""
        kernel = KernelState(self.is_local, self.recent, SERVICE_CHAINS)
        return walk(self.ruleset(), kernel, packet, uniform, now_ns)

    def is_local(self, address: int) -> bool:
        """Whether the node delivers packets for the address to itself."""
        return address in self.local_addresses or address >> 24 == 127

    def _refresh(self, order: int | None) -> None:
        lists = self.lists
        self._ruleset = None
        self._frequent: dict[int, Decision | _Choice] = {}
        for each in lists.values():
            each.reorder(order)
        services, external, firewall = (len(lists[kind]) for kind in ("filter_services", "external", "firewall"))
        self._service_rules = len(lists["services"]) + len(self.node_port_jumps)
        self._filter_indexes: tuple[Mapping[int, Placed | None], ...] = tuple(
            index
            for kind in ("filter_services", "external", "firewall")
            for index in (lists[kind].overlay, lists[kind].base_index)
            if index
        )
        self._filter_port_indexes: tuple[Mapping[int, Placed | None], ...] = tuple(
            index
            for kind in ("external", "health")
            for index in (lists[kind].overlay, lists[kind].base_index)
            if index
        )
        marked = 1 + firewall + 1 + self._forward_rules - 1
        plain = 1 + firewall + 1 + self._forward_rules + 1 + services + 1 + external
        output = 1 + self._guards_loopback + 1 + firewall + 1 + services
        # Rules after nat PREROUTING or OUTPUT for a packet to another host that no filter rule stops, by hook and mark.
        self._onward = ((plain + 2, marked + 4), (output + 2, output + 4))
        inward = 1 + self._guards_loopback + 1 + firewall + 1 + len(lists["health"]) + 1 + external
        # The same for a packet to the node itself.
        self._to_itself = ((inward, inward), (output + 2 + inward, output + 4 + inward))
        # By hook, for a packet that no Service takes: all rules examined.
        self._missed = tuple(1 + self._service_rules + onward[0] for onward in self._onward)

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """What the rules do with a connection's first packet; `recent` lists change as in the kernel."""
        protocol, source, _, destination, port, hook = packet
        frequent = self._frequent.get((destination << 24 | port << 8 | protocol) << 1 | hook)
        if frequent is None:
            return self._seldom(packet, uniform, now_ns)
        if isinstance(frequent, Decision):
            return frequent
        chain = frequent.chain
        index = bisect_right(chain.bounds, uniform)
        if source >> chain.shift == chain.inside:
            decision = frequent.inside[index]
        else:
            decision = frequent.outside[index]
        if decision is None or decision.destination == source:
            return self._seldom(packet, uniform, now_ns)
        return decision

    def _seldom(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """A packet unlike all before it since the last sync; keeps the answer if it is the same for all that are like it."""
        protocol, source, _, destination, port, hook = packet
        key = destination << 24 | port << 8 | protocol
        services = self.services
        overlay = services.overlay
        found = overlay[key] if key in overlay else services.base_index.get(key)
        if found is None:
            if self._goes_on(destination, key):
                decision = Decision(_NO_MATCH, destination, port, False, self._service_rules, 0, self._missed[hook])
                self._frequent[key << 1 | hook] = decision
                return decision
            return self._general(packet, uniform, now_ns)
        target = found[1].target
        if not target.plain or len(found) != 2:
            return self._general(packet, uniform, now_ns)
        slot = found[0]
        position = services.positions.get(slot) or services.position(slot)
        chain = target.chain
        index = bisect_right(chain.bounds, uniform)
        endpoint = chain.endpoints[index]
        address = endpoint.address
        if not self._goes_on(address, address << 24 | endpoint.port << 8 | protocol):
            return self._general(packet, uniform, now_ns)
        rules = position + index + 4
        marked = False
        inside = source >> chain.shift == chain.inside
        if chain.has_masquerade_rule:
            rules += 1
            if chain.masquerade_all or not inside:
                rules += 1
                marked = True
        if source == address:
            rules += 1
            marked = True
        statistic = index + 1 if index < chain.last else chain.last
        decision = Decision(
            _DNAT, address, endpoint.port, marked, position, statistic, rules + self._onward[hook][marked], None, chain.choices
        )
        if source != address:
            choice = self._frequent.get(key << 1 | hook)
            if not isinstance(choice, _Choice):
                choice = self._frequent[key << 1 | hook] = _Choice(chain)
            (choice.inside if inside else choice.outside)[index] = decision
        return decision

    def _goes_on(self, address: int, key: int) -> bool:
        """Whether a packet with this destination leaves for another host, and no filter rule looks at it."""
        if address in self.local_addresses or address >> 24 == 127:
            return False
        return not any(key in entries for entries in self._filter_indexes)

    def _general(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """Any packet, chain by chain."""
        arrival = Arrival(
            packet.source, packet.destination, packet.destination_port, uniform, now_ns, self.recent, self.is_local
        )
        hit, service_rules = self._nat(arrival, packet.protocol)
        endpoint, marked, below, statistic, endpoints = hit
        rules = 1 + service_rules + below
        if endpoint is None:
            verdict, destination, port = Verdict.NO_MATCH, packet.destination, packet.destination_port
        else:
            verdict, destination, port = Verdict.DNAT, endpoint.address, endpoint.port
        if self._meets_filter(destination, port, packet.protocol):
            way = _Way(self, packet, destination, port, hit)
            stopped = way.follow()
            if stopped is not None:
                verdict = stopped
            return Decision(
                verdict, destination, port, way.masquerade, service_rules, statistic, rules + way.rules, endpoints=endpoints
            )
        if destination in self.local_addresses:
            onward, masquerade = self._to_itself[packet.hook][marked], marked and packet.hook != _PREROUTING
        else:
            onward, masquerade = self._onward[packet.hook][marked], marked
        return Decision(
            verdict, destination, port, masquerade, service_rules, statistic, rules + onward, endpoints=endpoints
        )

    def _meets_filter(self, destination: int, port: int, protocol: int) -> bool:
        """Whether some filter rule beside those for all packets may be for this destination."""
        key = destination << 24 | port << 8 | protocol
        for entries in self._filter_indexes:
            if key in entries:
                return True
        if destination in self.local_addresses:
            key = port << 8 | protocol
            for entries in self._filter_port_indexes:
                if key in entries:
                    return True
        return is_loopback(destination)

    def _nat(self, arrival: Arrival, protocol: int) -> tuple[Hit, int]:
        """nat KUBE-SERVICES and KUBE-NODEPORTS: where the packet goes, and how many rules of these chains it takes."""
        below = 0
        for position, item in self.services.matches(address_key(arrival.destination, arrival.port, protocol)):
            hit: Hit = item.target.enter(arrival)
            below += hit.rules
            if hit.endpoint is not None:
                return hit._replace(rules=below), position
        examined = len(self.services)
        looped = is_loopback(arrival.destination)
        for address in (None,) if self._any_address else self._jump_addresses:
            examined += 1
            if address is None:
                if not self.is_local(arrival.destination) or (looped and not self._loopback_served):
                    continue
            elif address != arrival.destination:
                continue
            key = address_key(0, arrival.port, protocol)
            keys = (LOOPBACK_KEY | key, key) if looped else (key,)
            for position, item in self.node_ports.matches(*keys):
                hit = item.target.enter(arrival)
                below += hit.rules
                if hit.endpoint is not None:
                    return hit._replace(rules=below), examined + position
            examined += len(self.node_ports)
        return Hit(None, False, below, 0), examined


class _Way:
    """The filter table and nat POSTROUTING for a packet whose destination is settled."""

    def __init__(self, table: IptablesTable, packet: Packet, destination: int, port: int, hit: Hit) -> None:
        self.table = table
        self.packet = packet
        self.destination = destination
        self.rewritten = hit.endpoint is not None
        self.marked = hit.marked
        self.key = address_key(destination, port, packet.protocol)
        self.port_key = address_key(0, port, packet.protocol)
        self.local = table.is_local(destination)
        self.masquerade = False
        self.rules = 0

    def follow(self) -> Verdict | None:
        """REJECT or DROP where the packet ends, None where it goes on."""
        if self.packet.hook == _PREROUTING:
            if self.local:
                return self._input()
            verdict = self._forward()
            if verdict is None:
                self._postrouting()
            return verdict
        verdict = self._output()
        if verdict is not None:
            return verdict
        self._postrouting()
        return self._input() if self.local else None

    def _postrouting(self) -> None:
        self.rules += 4 if self.marked else 2
        self.masquerade = self.marked

    def _chain(self, kind: ListKind, *keys: int) -> Verdict | None:
        """A jump and the shared chain behind it; the verdict of the first rule that matches."""
        rules = self.table.lists[kind]
        self.rules += 1
        for position, item in rules.matches(*keys):
            self.rules += position
            verdict: Verdict = item.target
            return verdict
        self.rules += len(rules)
        return None

    def _guard(self) -> Verdict | None:
        table = self.table
        self.rules += 1 + table._guards_loopback
        if table._guards_loopback and is_loopback(self.destination) and not self.rewritten:
            if not is_loopback(self.packet.source):
                return Verdict.DROP
        return None

    def _input(self) -> Verdict | None:
        verdict = self._guard() or self._chain("firewall", self.key)
        if verdict is not None:
            return verdict
        health = (self.port_key,) if self.packet.protocol == TCP else ()
        if self._chain("health", *health) is not None:
            return None
        return self._chain("external", self.key, self.port_key)

    def _forward(self) -> Verdict | None:
        verdict = self._chain("firewall", self.key)
        if verdict is not None:
            return verdict
        self.rules += 1 + self.table._forward_rules
        if self.marked:
            self.rules -= 1
            return None
        verdict = self._chain("filter_services", self.key)
        return verdict if verdict is not None else self._chain("external", self.key)

    def _output(self) -> Verdict | None:
        return self._guard() or self._chain("firewall", self.key) or self._chain("filter_services", self.key)


