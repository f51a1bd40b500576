"""What happens to traffic when something is gone, as observed in a real kernel; the letters are those of the measurements."""

import pytest

from svcsim.datapath.fabric import FabricSettings
from svcsim.linux.conntrack import State
from svcsim.linux.packet import TCP, UDP, Verdict
from svcsim.linux.tcp import TcpTimers
from svcsim.results.records import Outcome
from svcsim.units import MS, US, S
from tests.datapath.small_world import VIP, SmallWorld


def syn_times(world, until_ns):
    """When SYNs leave the client, by watching the count of sent packets."""
    times, last = [], world.fabric.counts.sent
    step = 10 * MS
    while world.clock.now < until_ns:
        world.run(world.clock.now + step)
        if world.fabric.counts.sent > last:
            times.append(round(world.clock.now / S, 1))
            last = world.fabric.counts.sent
    return times


def test_a_an_established_connection_stays_with_its_pod_when_the_rules_are_gone():
    world = SmallWorld()
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(1 * S)
    world.rules.backends = [world.pods[0].address]
    for _ in range(10):
        client.send(connection)
        world.run(world.clock.now + 1 * S)
    assert [detail for what, _, detail in client.events if what == "answered"] == [1] * 10


def test_a1_when_the_old_pod_is_killed_its_kernel_resets_the_connection_at_once():
    world = SmallWorld()
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(1 * S)
    client.send(connection)
    world.at(1 * S + 600 * US, world.servers[1].kill)
    world.run(2 * S)
    what, at_ns, outcome = client.events[1]
    assert (what, outcome) == ("failed", Outcome.RESET)
    assert at_ns - (1 * S + 600 * US) < 1 * MS


def test_a2_when_the_old_pods_node_vanishes_data_is_sent_again_doubling_from_200_ms_and_never_moves():
    world = SmallWorld()
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(1 * S)
    world.hosts[1].up = False
    world.fabric.changed()
    world.rules.backends = [world.pods[0].address]
    client.send(connection)
    begin = world.clock.now
    sent = world.fabric.counts.sent
    times = []
    while world.clock.now < begin + 60 * S:
        world.run(world.clock.now + 10 * MS)
        if world.fabric.counts.sent > sent:
            times.append((world.clock.now - begin) / S)
            sent = world.fabric.counts.sent
    assert times == pytest.approx([0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 25.4, 51.0], abs=0.02)
    assert "answered" not in client.names()


def test_b_new_connections_follow_the_new_rules_at_once():
    world = SmallWorld()
    client = world.client()
    world.rules.backends = [world.pods[0].address]
    for i in range(300):
        client.connect(uniform=i / 300)
    world.run(1 * S)
    assert {detail for _, _, detail in client.events} == {0}
    assert client.names() == ["connected"] * 300


def test_c1_a_closed_port_refuses_after_one_round_trip():
    world = SmallWorld()
    world.pods[0].listeners.clear()
    client = world.client()
    client.connect(uniform=0.0)
    world.run(1 * S)
    assert client.events[0][0] == "connect failed"
    assert client.events[0][2] is Outcome.REFUSED
    assert client.events[0][1] < 100 * US


def test_c2_with_routed_pods_a_missing_one_is_unreachable_at_once_as_long_as_icmp_may_be_sent():
    world = SmallWorld(settings=FabricSettings(cni="routed"))
    world.remove_pod(0)
    client = world.client()
    for _ in range(8):
        client.connect(uniform=0.0)
    world.run(500 * MS)
    assert [detail for _, _, detail in client.events] == [Outcome.NO_ROUTE] * 6
    assert all(at_ns < 1 * MS for _, at_ns, _ in client.events)
    world.run(1500 * MS)
    assert len(client.events) == 7


def test_c3_on_a_bridge_a_missing_pod_is_unreachable_when_three_probes_have_failed():
    world = SmallWorld(settings=FabricSettings(cni="bridge"))
    world.remove_pod(0)
    client = world.client()
    client.connect(uniform=0.0)
    world.run(10 * S)
    what, at_ns, outcome = client.events[0]
    assert (what, outcome) == ("connect failed", Outcome.NO_ROUTE)
    assert at_ns == pytest.approx(3.06 * S, abs=1 * MS)


@pytest.mark.parametrize(
    ("linear", "expected", "gives_up"),
    [(4, [1, 2, 3, 4, 5, 7, 11, 19, 35, 67], 131), (0, [1, 3, 7, 15, 31, 63], 127)],
)
def test_c4_silence_makes_the_client_send_its_syn_again_on_the_kernels_schedule(linear, expected, gives_up):
    world = SmallWorld(settings=FabricSettings(timers=TcpTimers(syn_linear=linear)))
    world.rules.verdict = Verdict.DROP
    client = world.client()
    client.connect()
    assert syn_times(world, 140 * S) == pytest.approx(expected, abs=0.05)
    what, at_ns, outcome = client.events[0]
    assert (what, outcome) == ("connect failed", Outcome.CONNECT_TIMEOUT)
    assert at_ns == pytest.approx(gives_up * S, abs=0.1 * S)


def test_c5_a_syn_in_flight_stays_bound_to_the_dead_endpoint_until_its_entry_is_deleted():
    world = SmallWorld()
    world.hosts[1].up = False
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(500 * MS)
    world.rules.backends = [world.pods[0].address]
    world.run(10 * S)
    assert client.events == []
    world.hosts[0].conntrack.delete(connection.near_entry)
    world.run(12 * S)
    assert client.events[0][0] == "connected"
    assert client.events[0][2] == 0


def test_d_a_udp_flow_stays_on_the_removed_pod_as_long_as_it_is_busy():
    world = SmallWorld()
    client = world.client()
    flow = client.socket(uniform=0.9)
    client.datagram(flow)
    world.run(1 * S)
    assert client.events[-1][2] == 1
    world.rules.backends = [world.pods[0].address]
    world.pods[1].listeners.clear()
    world.servers[1].kill()
    answers = len(client.events)
    for _ in range(20):
        world.run(world.clock.now + 600 * MS)
        client.datagram(flow)
    world.run(world.clock.now + 1 * S)
    refused = [detail for what, _, detail in client.events[answers:] if what == "failed"]
    assert set(refused) == {Outcome.REFUSED}
    assert "answered" not in [what for what, _, _ in client.events[answers:]]
    assert 13 <= len(refused) < 20  # the others lost their ICMP to the rate limit


def test_d_it_moves_when_its_entry_is_deleted_or_after_an_idle_time_longer_than_the_time_out():
    for idle_ns, delete in ((0, True), (121 * S, False)):
        world = SmallWorld()
        client = world.client()
        flow = client.socket(uniform=0.9)
        client.datagram(flow)
        world.run(1 * S)
        world.rules.backends = [world.pods[0].address]
        world.remove_pod(1)
        if delete:
            world.hosts[0].conntrack.delete(flow.near_entry)
        world.run(world.clock.now + idle_ns + 1)
        client.datagram(flow)
        world.run(world.clock.now + 1 * S)
        assert client.events[-1][0] == "answered"
        assert client.events[-1][2] == 0


def test_d1_a_new_source_port_goes_to_a_live_endpoint_at_once():
    world = SmallWorld()
    client = world.client()
    client.datagram(client.socket(uniform=0.9))
    world.run(1 * S)
    world.rules.backends = [world.pods[0].address]
    world.remove_pod(1)
    client.datagram(client.socket(uniform=0.9))
    world.run(2 * S)
    assert [detail for _, _, detail in client.events] == [1, 0]


def test_e_a_service_without_endpoints_refuses_until_the_icmp_bucket_is_empty():
    world = SmallWorld()
    world.rules.backends = []
    client = world.client()
    for _ in range(6):
        client.connect()
    world.run(10 * MS)
    assert [detail for _, _, detail in client.events] == [Outcome.REFUSED] * 6
    client.connect()
    world.run(2 * S)
    assert client.events[6][1] == pytest.approx(1 * S, abs=0.1 * S)


def test_a_dead_node_on_the_same_segment_is_unreachable_after_three_seconds_and_behind_a_router_never():
    for segment, expected in (("l2", ["connect failed"]), ("l3", [])):
        world = SmallWorld(settings=FabricSettings(segment=segment))
        world.hosts[1].up = False
        client = world.client()
        client.connect(uniform=0.9)
        world.run(5 * S)
        assert client.names() == expected


def test_a_hung_pod_accepts_connections_until_its_backlog_is_full_and_answers_nothing():
    world = SmallWorld()
    world.servers[0].hang()
    client = world.client()
    connection = client.connect(uniform=0.0)
    world.run(1 * S)
    client.send(connection)
    world.run(100 * S)
    assert client.names() == ["connected"]
    world.servers[0].resume()
    world.run(101 * S)
    assert client.names() == ["connected", "answered"]


def test_a_killed_pod_takes_what_was_in_flight_with_it_and_refuses_new_connections():
    world = SmallWorld()
    client = world.client()
    kept = client.connect(uniform=0.0)
    world.run(1 * S)
    world.servers[0].kill()
    world.run(2 * S)
    assert client.names() == ["connected", "disconnected"]
    assert not kept.open
    client.connect(uniform=0.0)
    world.run(3 * S)
    assert client.events[-1][2] is Outcome.REFUSED


def power_cycle(world, index):
    world.hosts[index].up = False
    world.hosts[index].conntrack.flush()
    world.servers[index].power_off()
    world.fabric.changed()
    world.run(world.clock.now + 1 * S)
    world.hosts[index].up = True
    world.fabric.changed()


def test_a_node_that_comes_back_answers_for_connections_of_before_with_a_reset():
    world = SmallWorld()
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(1 * S)
    power_cycle(world, 1)
    client.send(connection)
    world.run(10 * S)
    assert client.names() == ["connected", "failed", "disconnected"]
    assert client.events[1][2] is Outcome.RESET


def test_if_the_pod_did_not_come_back_nobody_answers_for_its_address():
    world = SmallWorld()
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(1 * S)
    power_cycle(world, 1)
    world.fabric.remove_namespace(world.pods[1])
    client.send(connection)
    world.run(20 * S)
    assert client.names() == ["connected"]
    assert world.fabric.counts.dropped["no such pod"] == 7


def test_a_node_that_forgot_the_translation_of_a_flow_from_outside_resets_it():
    world = SmallWorld()
    outside = world.outside_host()
    client = world.client()
    connection = client.connect(uniform=0.9, namespace=outside.namespace)
    world.run(1 * S)
    assert client.names() == ["connected"]
    assert connection.entry_host is world.hosts[0]
    power_cycle(world, 0)
    client.send(connection)
    world.run(10 * S)
    assert client.names() == ["connected", "failed", "disconnected"]
    assert client.events[1][2] is Outcome.RESET


def test_when_the_conntrack_table_is_full_new_connections_are_dropped_and_it_is_noted_once():
    world = SmallWorld(conntrack_limit=3)
    client = world.client()
    for _ in range(5):
        client.connect(uniform=0.0)
    world.run(500 * MS)
    assert client.names() == ["connected"] * 3
    assert world.hosts[0].conntrack.dropped_full == 2
    assert len(world.journal.entries) == 1


def test_two_datagrams_of_one_socket_at_once_race_for_the_conntrack_entry_on_an_old_kernel():
    world = SmallWorld(settings=FabricSettings(resolve_clash=False, datagram_migration=1.0))
    client = world.client()
    failed = answers = 0
    for _ in range(40):
        flow = client.socket(uniform=0.0)
        client.datagram(flow)
        client.datagram(flow)
        world.run(world.clock.now + 1 * S)
        failed, answers = world.hosts[0].conntrack.insert_failed, len(client.events)
    assert 10 < failed < 30  # whenever the second one chose the other pod
    assert answers == 80 - failed


def test_datagrams_of_one_cpu_do_not_race():
    world = SmallWorld(settings=FabricSettings(resolve_clash=False))
    client = world.client()
    for _ in range(20):
        flow = client.socket(uniform=0.0)
        client.datagram(flow)
        client.datagram(flow)
        world.run(world.clock.now + 1 * S)
    assert len(client.events) == 40
    assert world.hosts[0].conntrack.insert_failed == 0


def test_packets_sent_are_delivered_or_dropped():
    world = SmallWorld()
    client = world.client()
    world.at(1 * MS, world.servers[1].kill)
    world.at(2 * MS, lambda: world.remove_pod(0))
    for i in range(50):
        world.at(i * 100 * US + 1, lambda i=i: client.connect(uniform=i % 2 * 0.9))
    world.run(300 * S)
    counts = world.fabric.counts
    assert counts.sent == counts.delivered + sum(counts.dropped.values())


def test_the_flow_tables_of_both_nodes_follow_the_connection():
    world = SmallWorld()
    client = world.client()
    connection = client.connect(uniform=0.9)
    world.run(1 * S)
    near, far = connection.near_entry, connection.far_entry
    assert near.state is far.state is State.ESTABLISHED
    assert (near.destination, near.destination_port) == (world.pods[1].address, 8080)
    world.network.handshakes.close(connection)
    assert [host.conntrack.count(2 * S) for host in world.hosts] == [1, 1]
    assert [host.conntrack.count(122 * S) for host in world.hosts] == [0, 0]


def test_a_connection_between_nodes_is_decided_on_both_and_one_on_a_node_once():
    world = SmallWorld()
    client = world.client()
    across, local = client.connect(uniform=0.9), client.connect(uniform=0.0)
    world.run(1 * S)
    assert (across.rules, local.rules) == (4 + 2, 4)


def test_the_destination_of_a_listener_is_its_namespace_and_port():
    world = SmallWorld()
    assert world.pods[0].listeners[(TCP, 8080)] is world.pods[0].listeners[(UDP, 8080)]
    assert VIP not in world.fabric.namespaces
