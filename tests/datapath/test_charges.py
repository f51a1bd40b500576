"""What packets are charged: on an idle path the latency of a request is the sum of what each hop and socket costs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.calibration.costs import costs_of
from svcsim.calibration.profile import load_profile
from svcsim.linux.packet import TCP, UDP, Decision, Verdict
from svcsim.linux.tcp import INITIAL_WINDOW_BYTES, SEGMENT_BYTES
from svcsim.units import MS, US, S
from svcsim.world.hosts import charges_of
from tests.datapath.small_world import CHARGES, SmallWorld

SERVICE_NS = 1 * MS
LINK_NS = 100 * US


def sockets_ns(protocol):
    """Sending and receiving, there and back."""
    if protocol == "udp":
        return 2 * (CHARGES.udp_send_ns + CHARGES.udp_receive_ns)
    return CHARGES.client_send_ns + CHARGES.server_receive_ns + CHARGES.server_send_ns + CHARGES.client_receive_ns


def exchange_ns(world, client, connection, send):
    """One exchange on an established flow."""
    begun_ns = world.clock.now
    send(connection)
    world.run(begun_ns + 1 * S)
    assert client.events[-1][0] == "answered"
    return client.events[-1][1] - begun_ns


def established(protocol, *, masquerade=False, uniform=0.0):
    world = SmallWorld(service_ns=SERVICE_NS)
    world.rules.masquerade = masquerade
    client = world.client()
    if protocol == "udp":
        connection, send = client.socket(uniform), client.datagram
        send(connection)
    else:
        connection, send = client.connect(uniform), client.send
    world.run(1 * S)
    return world, client, connection, send


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_an_exchange_on_a_node_costs_its_sockets_and_two_translated_packets(protocol):
    took_ns = exchange_ns(*established(protocol))
    assert took_ns == SERVICE_NS + 2 * CHARGES.nat_packet_ns + sockets_ns(protocol)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_between_nodes_the_pods_node_forwards_without_translation(protocol):
    took_ns = exchange_ns(*established(protocol, uniform=0.9))
    nodes_ns = 2 * (CHARGES.nat_packet_ns + CHARGES.plain_packet_ns)
    assert took_ns == SERVICE_NS + nodes_ns + 2 * LINK_NS + sockets_ns(protocol)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_masqueraded_flow_has_a_second_translation_in_each_packet(protocol):
    plain_ns = exchange_ns(*established(protocol, uniform=0.9))
    took_ns = exchange_ns(*established(protocol, masquerade=True, uniform=0.9))
    assert took_ns - plain_ns == 2 * CHARGES.masquerade_packet_ns


def test_the_first_datagram_of_a_socket_costs_its_sender_more():
    world = SmallWorld(service_ns=SERVICE_NS)
    client = world.client()
    first_ns = exchange_ns(world, client, flow := client.socket(), client.datagram)
    later_ns = exchange_ns(world, client, flow, client.datagram)
    walk_ns = CHARGES.first_ns + round(CHARGES.service_rule_udp_ns + CHARGES.statistic_rule_udp_ns)
    assert first_ns - later_ns == CHARGES.fresh_udp_send_ns + walk_ns - CHARGES.nat_packet_ns


@pytest.mark.parametrize(("endpoints", "share"), [(0, 0.0), (1, 0.0), (2, 1 / 102), (100, 99 / 200), (500, 499 / 600)])
def test_the_picked_one_of_many_endpoints_is_out_of_the_cache(endpoints, share):
    """netns 5: what the rows have beyond the `statistic` rules, none of it with one endpoint."""
    charges = replace(CHARGES, cold_endpoint_ns=3_200.0)
    warm = Decision(Verdict.DNAT, 1, 80, statistic_rules=7)
    cold = replace(warm, endpoints=endpoints)
    assert charges.first_packet_ns(cold, TCP) - charges.first_packet_ns(warm, TCP) == round(3_200 * share)


def times_of(charges, send_name, count=3, **sizes):
    """How long exchanges one after the other take, the connection or socket being new with the first."""
    world = SmallWorld(service_ns=SERVICE_NS, charges=charges)
    client = world.client()
    flow = client.connect() if send_name == "send" else client.socket()
    world.run(10 * MS)
    return [exchange_ns(world, client, flow, lambda each: getattr(client, send_name)(each, **sizes)) for _ in range(count)]


@pytest.mark.parametrize(("send_name", "entry"), [("send", "accept_ns"), ("datagram", "fresh_udp_reply_ns")])
def test_the_first_exchange_of_a_connection_alone_is_accepted_and_of_a_flow_alone_answered_anew(send_name, entry):
    without = times_of(CHARGES, send_name)
    with_it = times_of(replace(CHARGES, **{entry: 17_000}), send_name)
    assert [one - other for one, other in zip(with_it, without, strict=True)] == [17_000, 0, 0]


def test_no_connect_waits_for_the_accepting_process():
    world = SmallWorld(charges=replace(CHARGES, accept_ns=17_000))
    plain = SmallWorld()
    connected = []
    for each in (world, plain):
        client = each.client()
        client.connect()
        each.run(1 * S)
        connected.append(client.events[0])
    assert connected[0] == connected[1]


COPYING = replace(CHARGES, copy_ns_per_kib=250.0, further_copy_ns_per_kib=720.0)


@pytest.mark.parametrize("size", [SEGMENT_BYTES, SEGMENT_BYTES + 1, INITIAL_WINDOW_BYTES, 65_536])
def test_a_message_of_more_than_a_segment_is_copied_in_and_out_of_the_kernel(size):
    """Beyond the first window its parts are copied while the next ones travel, which is less than all of it."""
    took_ns = times_of(COPYING, "send", 1, answer_bytes=size)[0] - times_of(CHARGES, "send", 1, answer_bytes=size)[0]
    copied_ns = 0 if size == SEGMENT_BYTES else round(250 * size / 1024)
    assert took_ns == copied_ns if size <= INITIAL_WINDOW_BYTES else 0 < took_ns < copied_ns


def test_what_a_process_copies_of_a_long_message_is_a_unit_cheaply_and_the_rest_at_the_rate_of_a_stream():
    assert COPYING.copied_ns(65_536) == 64 * 250
    assert COPYING.copied_ns(4 * 65_536) == 64 * 250 + 3 * 64 * 720
    costs = costs_of(load_profile(), "iptables")
    assert charges_of(costs).copied_ns(1 << 20) == pytest.approx(costs.socket_copy_ns(1 << 20), rel=1e-6)


@pytest.mark.parametrize(("protocol", "sent_ns", "received_ns"), [
    ("tcp", 700, CHARGES.client_receive_ns), ("udp", CHARGES.udp_send_ns + CHARGES.fresh_udp_send_ns, CHARGES.udp_receive_ns),
])
def test_a_reject_is_no_translation_and_its_packet_was_sent_too(protocol, sent_ns, received_ns):
    world = SmallWorld(charges=replace(CHARGES, syn_send_ns=700))
    world.rules.verdict = Verdict.REJECT
    client = world.client()
    if protocol == "udp":
        client.datagram(client.socket())
    else:
        client.connect()
    world.run(1 * S)
    walk_ns = CHARGES.first_miss_ns + round(2 * CHARGES.service_rule_tcp_ns) + CHARGES.reject_ns
    assert client.events[-1][1] == sent_ns + walk_ns + received_ns


MODES = [("iptables", "legacy"), ("iptables", "nft"), ("ipvs", None), ("nftables", None), ("userspace", None)]


@given(
    mode=st.sampled_from(MODES), rules=st.integers(0, 60_000), statistic=st.integers(0, 5_000), endpoints=st.integers(0, 5_000),
    matched=st.booleans(), masquerade=st.booleans(), protocol=st.sampled_from([TCP, UDP]),
)
def test_a_node_charges_for_a_first_packet_what_the_profile_prices_it_at(
    mode, rules, statistic, endpoints, matched, masquerade, protocol
):
    costs = costs_of(load_profile(), *mode)
    decision = Decision(
        Verdict.DNAT if matched else Verdict.NO_MATCH, 1, 80, masquerade, rules, statistic, endpoints=endpoints
    )
    priced_ns = costs.first_packet_ns(rules, statistic, masquerade, protocol, matched=matched, endpoints=endpoints)
    assert abs(charges_of(costs).first_packet_ns(decision, protocol) - priced_ns) <= 1


def test_connections_spread_over_the_queues_of_a_node_however_regular_their_ports_are():
    """A hash of the flow chooses (RSS, RPS), so that clients who waited in one queue don't meet again in the next."""
    world = SmallWorld(charges=replace(CHARGES, first_ns=1 * MS, first_miss_ns=1 * MS))
    client = world.client()
    queues = []
    for _ in range(400):
        connection = client.connect(uniform=0.9)
        queues.append(connection.queue % 4)
    counts = [queues.count(queue) for queue in range(4)]
    pairs = [queues[i : i + 2] for i in range(399)]
    assert min(counts) > 70
    assert 60 < sum(one == other for one, other in pairs) < 140
