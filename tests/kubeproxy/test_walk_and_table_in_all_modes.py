"""In each mode and family the walk of the rules and the compiled table agree: in what they say, count and leave behind.

The clusters are those of `clusters`: Services of all kinds, protocols and policies that claim each other's addresses, endpoints
in all conditions with hints for zones and nodes, settings of all flavours. Two nodes alike see the same changes, syncs and
packets; one is asked by table, the other by walk.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.kubeproxy.ipvs_node import IpvsNode
from svcsim.kubeproxy.ipvs_proxier import IpvsLibrary, IpvsProxier
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.kubeproxy.round_robin import RoundRobin, keyed_shuffle
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.userspace_proxier import UserspaceProxier
from svcsim.linux.ipvs import IpvsSysctls, IpvsTable
from svcsim.linux.packet import Decision, FirstPacketPath, Hook, Packet, Verdict
from svcsim.units import MINUTE, S
from tests.kubeproxy.clusters import PLANS, Plan, packets, services, settings, slices

MODES = ("userspace", "iptables", "ipvs", "nftables")
NAMES = ("a", "b", "c", "d")


class Node:
    """One node in a mode: how it syncs, its packet path, and what its kernel remembers."""

    def __init__(self, mode: str, given_settings: ProxySettings, shared: Any, order: int | None) -> None:
        self.mode = mode
        self.tracker = ChangeTracker(shared[0], given_settings.node_name)
        self.proxier: Any
        if mode == "userspace":
            balancer = RoundRobin(keyed_shuffle(1, "here"))
            self.proxier = UserspaceProxier(given_settings, self.tracker, balancer, lambda port: None, lambda port: None)
        elif mode == "iptables":
            self.proxier = IptablesProxier(given_settings, self.tracker, shared[1], order=order)
        elif mode == "ipvs":
            self.proxier = IpvsProxier(given_settings, self.tracker, shared[1], IpvsTable(IpvsSysctls.of_kube_proxy()))
            self.node = IpvsNode(self.proxier)
        else:
            self.proxier = NftablesProxier(given_settings, self.tracker, shared[1], matches_port_again=bool(order))

    def sync(self, now_ns: int) -> None:
        if self.mode == "userspace":
            self.proxier.prepare(now_ns, full=False).commit()
        else:
            self.proxier.sync(now_ns)
        if self.mode == "ipvs":
            self.proxier.check_terminating(now_ns)

    @property
    def path(self) -> FirstPacketPath:
        if self.mode == "ipvs":
            return self.node
        return self.proxier.path if self.mode == "userspace" else self.proxier.table

    def remembers(self, now_ns: int) -> object:
        """Affinity and connections, as far as the kernel holds them."""
        if self.mode == "iptables":
            return self.proxier.table.recent.contents()
        if self.mode == "nftables":
            sets = self.proxier.table.dynamic_sets
            return {name: found for name, entries in sets.items() if (found := entries.live(now_ns))}
        if self.mode == "ipvs":
            table = self.proxier.table
            table.advance(now_ns)
            servers = [
                (service.key, one.address, one.port, one.weight, one.active, one.inactive, one.templates)
                for service in table.services.values() for one in service.servers
            ]
            entries = [(one.key, one.server.address, one.state, one.expires_ns) for one in table.entries()]
            templates = [(one.key, one.server.address, one.held, one.displaced, one.expires_ns) for one in table.templates()]
            return servers, entries, templates
        return None


def twins(mode: str, given_settings: ProxySettings, order: int | None) -> list[Node]:
    libraries = {"iptables": IptablesProgrammes, "ipvs": IpvsLibrary, "nftables": ProgrammeLibrary, "userspace": dict}
    shared = Catalogue(given_settings.family), libraries[mode]()
    return [Node(mode, given_settings, shared, order) for _ in range(2)]


def change(data: st.DataObject, nodes: list[Node], plan: Plan, name: str, what: str) -> None:
    obj = data.draw(services(name, plan) if what == "service" else slices(name, 2 if what == "other slice" else 1, plan))
    for node in nodes:
        if what == "service":
            node.tracker.on_service(obj)
        elif what == "no service":
            node.tracker.on_service_deleted(f"ns/{name}")
        elif what == "no slice":
            node.tracker.on_slice_deleted(obj)
        else:
            node.tracker.on_slice(obj)


def said(decision: Decision) -> Decision:
    """Without the flow, which is each node's own."""
    return replace(decision, flow=None)


def aimed(data: st.DataObject, node: Node, plan: Plan) -> Packet:
    """A packet, half of the time to what some Service asks for."""
    packet: Packet = data.draw(packets(plan))
    wanted = [
        (address, port.protocol_number, number)
        for ports in node.tracker.services.values()
        for port in ports.values()
        for address, number in (
            (port.cluster_ip, port.port), *((each, port.port) for each in (*port.external_ips, *port.load_balancer_vips)),
            (node.proxier.settings.node_ip, port.node_port),
        )
        if number
    ]
    if wanted and data.draw(st.booleans()):
        address, protocol, number = data.draw(st.sampled_from(wanted))
        return packet._replace(destination=address, protocol=protocol, destination_port=number)
    return packet


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("mode", MODES)
@budget(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(st.data(), st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_walk_and_table_agree_over_sequences_of_changes_syncs_and_packets(
    mode: str, family: str, data: st.DataObject, order: int | None
) -> None:
    plan = PLANS[family]
    nodes = twins(mode, data.draw(settings(mode, plan)), order)
    for name in NAMES[:2]:
        change(data, nodes, plan, name, "service")
        change(data, nodes, plan, name, "slice")
    now_ns, number = 0, 0
    for _ in range(data.draw(st.integers(1, 4))):
        for node in nodes:
            node.sync(now_ns)
        for _ in range(data.draw(st.integers(1, 8))):
            now_ns += data.draw(st.sampled_from((0, S, 6 * S, 20 * S, 2 * MINUTE)))
            number += 1
            packet = aimed(data, nodes[0], plan)._replace(source_port=40_000 + number)
            uniform = data.draw(st.floats(0, 1, exclude_max=True))
            by_table = nodes[0].path.decide(packet, uniform, now_ns)
            by_walk, steps = nodes[1].path.walk(packet, uniform, now_ns)
            assert said(by_table) == said(by_walk), "\n".join(map(str, steps))
            assert by_walk.rules == sum(step.table != "ipvs" for step in steps)
            assert (by_table.flow is None) == (by_walk.flow is None)
            for flow in (by_table.flow, by_walk.flow):
                if flow is not None and number % 3 == 0:
                    flow.on_close(now_ns, by_client=True)
            assert nodes[0].remembers(now_ns) == nodes[1].remembers(now_ns)
        for _ in range(data.draw(st.integers(0, 3))):
            what = data.draw(st.sampled_from(("service", "slice", "slice", "other slice", "no service", "no slice")))
            change(data, nodes, plan, data.draw(st.sampled_from(NAMES)), what)


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("mode", MODES)
def test_the_generator_reaches_every_kind_of_answer(mode: str, family: str) -> None:
    """A law over cases that never come would hold in vain."""
    seen: Counter[tuple[Verdict, bool]] = Counter()
    hooks: set[tuple[Verdict, Hook]] = set()
    plan = PLANS[family]

    @budget(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def explore(data: st.DataObject) -> None:
        node = twins(mode, data.draw(settings(mode, plan)), None)[0]
        for name in NAMES[:3]:
            change(data, [node], plan, name, "service")
            change(data, [node], plan, name, "slice")
        node.sync(0)
        for number in range(6):
            packet = aimed(data, node, plan)._replace(source_port=number)
            decision = node.path.decide(packet, 0.5, 0)
            seen[decision.verdict, decision.masquerade] += 1
            hooks.add((decision.verdict, packet.hook))

    explore()
    wanted = {Verdict.DNAT, Verdict.NO_MATCH} | (set() if mode == "userspace" else {Verdict.REJECT, Verdict.DROP})
    assert wanted <= {verdict for verdict, _ in seen}
    assert {(Verdict.DNAT, hook) for hook in Hook} <= hooks
    if mode != "userspace":
        assert {(Verdict.DNAT, False), (Verdict.DNAT, True)} <= set(seen)
