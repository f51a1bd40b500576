"""The law of iptables mode: the compiled table and the walk of the rules agree in what they say and what they leave behind."""

from __future__ import annotations

from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.iptables_list import LIST_KINDS
from svcsim.kubeproxy.iptables_programme import LOOPBACK_KEY
from svcsim.kubeproxy.iptables_programmes import IptablesProgrammes
from svcsim.kubeproxy.iptables_proxier import IptablesProxier
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.netfilter.text import parse, render
from svcsim.linux.packet import Packet
from tests.kubeproxy.clusters import packets, services, settings, slices

NAMES = ("a", "b", "c", "d")


class Twins:
    """Two nodes alike: one is asked by table, the other by walk."""

    def __init__(self, given_settings: ProxySettings, order: int | None) -> None:
        programmes, catalogue = IptablesProgrammes(), Catalogue()
        self.nodes = [
            IptablesProxier(given_settings, ChangeTracker(catalogue, given_settings.node_name), programmes, order=order)
            for _ in range(2)
        ]

    def begin(self, data: st.DataObject) -> None:
        for name in NAMES[:2]:
            self.change(data, name, "service")
            self.change(data, name, "slice")

    def any_change(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(NAMES))
        what = data.draw(st.sampled_from(("service", "slice", "slice", "other slice", "no service", "no slice")))
        self.change(data, name, what)

    def change(self, data: st.DataObject, name: str, what: str) -> None:
        for node, obj in zip(self.nodes, self._objects(data, name, what), strict=True):
            if what == "service":
                node.tracker.on_service(obj)
            elif what == "no service":
                node.tracker.on_service_deleted(f"ns/{name}")
            elif what == "no slice":
                node.tracker.on_slice_deleted(obj)
            else:
                node.tracker.on_slice(obj)

    def _objects(self, data: st.DataObject, name: str, what: str) -> list:
        obj = data.draw(services(name) if what == "service" else slices(name, 2 if what == "other slice" else 1))
        return [obj, obj]

    def check(self, data: st.DataObject, now_ns: int) -> None:
        packet = data.draw(st.one_of(packets(), st.just(None)))
        if packet is None:
            packet = self._aimed(data)
        uniform = data.draw(st.floats(0, 1, exclude_max=True))
        by_table, by_walk = self.nodes
        walked, steps = by_walk.table.walk(packet, uniform, now_ns)
        assert by_table.table.decide(packet, uniform, now_ns) == walked
        assert len(steps) == walked.rules
        assert by_table.table.recent.contents() == by_walk.table.recent.contents()

    def _aimed(self, data: st.DataObject) -> Packet:
        """A packet that some rule is for."""
        lists = self.nodes[0].table.lists
        keys = [item.key for kind in LIST_KINDS for item in lists[kind].in_order()] or [80 << 8 | 6]
        key = data.draw(st.sampled_from(keys)) % LOOPBACK_KEY
        packet = data.draw(packets())
        destination = key >> 24 or packet.destination
        return packet._replace(protocol=key & 255, destination=destination, destination_port=key >> 8 & 0xFFFF)


@budget(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(st.data(), settings(), st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_table_and_walk_agree_over_sequences_of_changes_syncs_and_packets(
    data: st.DataObject, given_settings: ProxySettings, order: int | None
) -> None:
    twins = Twins(given_settings, order)
    now_ns = 10**12
    twins.begin(data)
    for _ in range(data.draw(st.integers(1, 4))):
        for _ in range(data.draw(st.integers(0, 5))):
            twins.any_change(data)
        for node in twins.nodes:
            node.sync(now_ns)
        for _ in range(data.draw(st.integers(1, 8))):
            now_ns += data.draw(st.sampled_from((0, 10**9, 6 * 10**9, 20 * 10**9)))
            twins.check(data, now_ns)


@budget(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(st.data(), settings())
def test_text_reads_back_as_the_same_rules_and_counts_are_those_of_the_rules(
    data: st.DataObject, given_settings: ProxySettings
) -> None:
    twins = Twins(given_settings, 5)
    twins.begin(data)
    for _ in range(3):
        for _ in range(4):
            twins.any_change(data)
        plan = twins.nodes[0].sync()
        ruleset = twins.nodes[0].table.ruleset()
        assert parse(render(ruleset)) == ruleset
        kube = {
            name: sum(len(rules) for chain, rules in table.chains.items() if chain.startswith("KUBE-"))
            for name, table in ruleset.items()
        }
        assert kube == {"nat": plan.nat_total, "filter": plan.filter_total}
