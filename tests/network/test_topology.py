"""Routes: zones, declared links, switches, and what faults do to them."""

from __future__ import annotations

import subprocess
import sys

import networkx as nx
import pytest

from svcsim.errors import UsageError
from svcsim.network.topology import Defaults, Disturbance, Edge, Route, Topology, Vertex

VERTICES = (
    Vertex("n1", "a"), Vertex("n2", "a"), Vertex("n3", "b"),
    Vertex("db", outside_rtt_ns=2_000), Vertex("user", outside_rtt_ns=500),
)
DEFAULTS = Defaults(same_zone_rtt_ns=200, cross_zone_rtt_ns=1_000)


def network(*edges: Edge, defaults: Defaults = DEFAULTS) -> Topology:
    return Topology(VERTICES, defaults, edges)


def delay(topology: Topology, source: str, target: str) -> int:
    route = topology.route(source, target)
    assert route is not None
    return route.delay_ns


def test_two_hosts_are_as_far_from_each_other_as_their_zones_say() -> None:
    topology = network()
    assert delay(topology, "n1", "n1") == 0
    assert delay(topology, "n1", "n2") == 100
    assert delay(topology, "n1", "n3") == 500
    assert delay(topology, "n1", "db") == 1_000
    assert delay(topology, "db", "user") == 1_250


def test_a_plain_route_is_smooth() -> None:
    route = network().route("n1", "n3")
    assert route == Route(500)
    assert not route.is_rough


def test_a_declared_link_changes_what_it_says_between_its_ends_both_ways_and_nothing_else() -> None:
    topology = network(Edge(("zone/a", "zone/b"), rtt_ns=4_000, loss=0.1), Edge(("node/n1", "node/n2"), jitter_ns=7))
    assert topology.route("n1", "n3") == topology.route("n3", "n2") == Route(2_000, 0, 0.1)
    assert topology.route("n2", "n1") == Route(100, 7)
    assert delay(topology, "n1", "db") == 1_000


def test_a_limit_of_every_node_gives_each_a_link_in_and_one_out() -> None:
    topology = network(defaults=Defaults(200, 1_000, bandwidth_bit_per_s=8_000_000))
    there, other, back = topology.route("n1", "n2"), topology.route("n1", "n3"), topology.route("n2", "n1")
    assert there is not None
    assert other is not None
    assert back is not None
    assert len(there.links) == 2
    assert there.links[0] is other.links[0]
    assert not {id(link) for link in there.links} & {id(link) for link in back.links}
    assert len(topology.links()) == 5


def test_a_declared_bandwidth_is_one_link_a_direction_shared_by_all_between_the_ends() -> None:
    topology = network(Edge(("zone/a", "zone/b"), bandwidth_bit_per_s=1_000_000, queue_bytes=99))
    first, second, back = topology.route("n1", "n3"), topology.route("n2", "n3"), topology.route("n3", "n1")
    assert first is not None
    assert second is not None
    assert back is not None
    assert first.links == second.links
    assert first.links[0] is second.links[0]
    assert first.links[0] is not back.links[0]
    assert (first.links[0].bandwidth_bit_per_s, first.links[0].queue_bytes) == (1_000_000, 99)


def test_routes_are_kept_until_a_fault_changes_something() -> None:
    topology = network()
    before = topology.route("n1", "n2")
    assert topology.route("n1", "n2") is before
    generation = topology.generation
    topology.add_fault(1, Disturbance(("node/n1",), loss=0.5))
    assert topology.generation == generation + 1
    assert topology.route("n1", "n2") == Route(100, 0, 0.5)


def test_a_disturbance_is_added_both_ways_on_every_link_of_its_ends() -> None:
    topology = network(Edge(("zone/a", "zone/b"), loss=0.5))
    topology.add_fault(1, Disturbance(("node/n1",), delay_ns=30, jitter_ns=4, loss=0.5))
    assert topology.route("n1", "n3") == topology.route("n3", "n1") == Route(530, 4, 0.75)
    assert topology.route("n1", "db") == Route(1_030, 4, 0.5)
    assert topology.route("n2", "n3") == Route(500, 0, 0.5)
    assert topology.route("n1", "n1") == Route(0)


def test_a_disturbance_with_a_second_end_acts_between_the_two() -> None:
    topology = network()
    topology.add_fault(1, Disturbance(("zone/a",), ("outside/db",), delay_ns=5))
    assert delay(topology, "n1", "db") == delay(topology, "db", "n2") == 1_005
    assert delay(topology, "n1", "n3") == 500
    assert delay(topology, "n1", "user") == 250


def test_disturbances_add_up_and_end_one_by_one() -> None:
    topology = network()
    topology.add_fault(1, Disturbance(("node/n1",), delay_ns=10))
    topology.add_fault(2, Disturbance(("node/n2",), delay_ns=1))
    assert delay(topology, "n1", "n2") == 111
    topology.remove_fault(1)
    assert delay(topology, "n1", "n2") == 101
    topology.remove_fault(2)
    assert delay(topology, "n1", "n2") == 100


def test_a_partitioned_node_reaches_itself_alone_until_every_partition_has_ended() -> None:
    topology = network()
    topology.cut_off(["n1"])
    topology.cut_off(["n1", "n2"])
    assert topology.route("n1", "n2") is None
    assert topology.route("n3", "n1") is None
    assert topology.route("n1", "n1") == Route(0)
    topology.reconnect(["n1"])
    assert topology.route("n1", "n3") is None
    topology.reconnect(["n1", "n2"])
    assert delay(topology, "n1", "n3") == 500


@pytest.mark.parametrize(("end", "expected"), [
    ("node/n9", "did you mean 'node/n"), ("zone/c", "has no 'zone/c'"), ("n1", "the end of a link is"),
    ("pod/x", "the end of a link is"), ("switch/", "the end of a link is"), ("outside/n1", "has no 'outside/n1'"),
])
def test_an_end_that_is_not_there_is_refused(end: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        network(Edge((end, "node/n1"), rtt_ns=1))


class TestSwitches:
    def test_a_route_is_the_path_of_least_delay(self) -> None:
        topology = network(
            Edge(("node/n1", "switch/s1"), rtt_ns=20), Edge(("node/n3", "switch/s2"), rtt_ns=20),
            Edge(("switch/s1", "switch/s2"), rtt_ns=1_000, loss=0.5),
            Edge(("switch/s1", "switch/s3"), rtt_ns=100, jitter_ns=3), Edge(("switch/s3", "switch/s2"), rtt_ns=100, jitter_ns=4),
        )
        assert topology.route("n1", "n3") == topology.route("n3", "n1") == Route(120, 7, 0.0)

    def test_hosts_that_no_switch_connects_keep_their_distance(self) -> None:
        topology = network(Edge(("node/n1", "switch/s1"), rtt_ns=20))
        assert delay(topology, "n1", "n2") == 100

    def test_a_zone_on_a_switch_is_each_of_its_nodes_and_by_default_as_wide_as_zones_are(self) -> None:
        topology = network(Edge(("zone/a", "switch/s1")))
        assert topology.route("n1", "n2") == Route(100)

    def test_losses_of_a_path_are_independent_and_its_finite_links_are_passed_in_turn(self) -> None:
        topology = network(
            Edge(("node/n1", "switch/s1"), rtt_ns=0, loss=0.5),
            Edge(("switch/s1", "node/n2"), rtt_ns=0, loss=0.5, bandwidth_bit_per_s=9),
        )
        there, back = topology.route("n1", "n2"), topology.route("n2", "n1")
        assert there is not None
        assert back is not None
        assert there.loss == 0.75
        assert [link.name for link in there.links] == ["switch/s1 -> node/n2"]
        assert [link.name for link in back.links] == ["node/n2 -> switch/s1"]

    def test_a_disturbance_on_a_switch_meets_the_routes_through_it(self) -> None:
        topology = network(
            Edge(("node/n1", "switch/s1"), rtt_ns=20), Edge(("node/n2", "switch/s1"), rtt_ns=20),
            Edge(("node/n3", "switch/s2"), rtt_ns=20), Edge(("switch/s1", "switch/s2"), rtt_ns=20),
        )
        topology.add_fault(1, Disturbance(("switch/s2",), delay_ns=7))
        assert delay(topology, "n1", "n2") == 20
        assert delay(topology, "n1", "n3") == 37
        topology.add_fault(2, Disturbance(("switch/s2",), ("node/n2",), delay_ns=100))
        assert delay(topology, "n2", "n3") == 137
        assert delay(topology, "n1", "n3") == 37


class TestGraph:
    def test_the_path_of_least_delay_is_the_route(self) -> None:
        topology = network()
        graph = topology.graph()
        ends = {vertex.name: vertex.end for vertex in VERTICES if vertex.outside_rtt_ns is None}
        for source, source_end in ends.items():
            for target, target_end in ends.items():
                assert nx.shortest_path_length(graph, source_end, target_end, "delay_ns") == delay(topology, source, target)
        assert nx.shortest_path_length(graph, "node/n1", "outside/db", "delay_ns") == delay(topology, "n1", "db")

    def test_it_grows_with_hosts_not_with_their_pairs(self) -> None:
        vertices = tuple(Vertex(f"n{i}", "abc"[i % 3]) for i in range(300))
        assert Topology(vertices, DEFAULTS).graph().number_of_edges() == 303

    def test_declared_links_and_switches_are_edges(self) -> None:
        graph = network(Edge(("node/n1", "switch/s1"), rtt_ns=20, loss=0.1)).graph()
        assert graph.edges["node/n1", "switch/s1"] == {
            "delay_ns": 10, "jitter_ns": None, "loss": 0.1, "bandwidth_bit_per_s": None, "declared": True,
        }
        assert graph.nodes["switch/s1"]["kind"] == "switch"


def test_a_plain_network_does_not_load_networkx() -> None:
    code = (
        "import sys; from svcsim.network.topology import *; t = Topology((Vertex('a'), Vertex('b')), Defaults(2, 2));"
        "assert t.route('a', 'b').delay_ns == 1; sys.exit('networkx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
