"""The userspace proxy at work, as measured with a reimplementation of its data path on a real kernel."""

import numpy as np
import pytest

from svcsim.linux.packet import UDP
from svcsim.results.records import Flag, Outcome
from svcsim.units import MS, US, S
from tests.datapath.directors import Captured
from tests.datapath.small_world import Client, SmallWorld
from tests.workload.bench_of_clients import closed_loop, open_loop, rows, source_on, workload


class Proxy(Captured):
    """Node 0 has the proxy; the pods of the other four nodes are its endpoints."""

    def __init__(self, nodes=5, **settings):
        super().__init__(SmallWorld(nodes=nodes, conntrack_limit=100_000, **settings))

    def refuse(self, *indices):
        for index in indices:
            self.world.pods[index].listeners.clear()

    def silence(self, *indices):
        for index in indices:
            self.world.hosts[index].up = False
        self.world.fabric.changed()

    def first_byte_ns(self):
        """Connect and send at once: how long until the answer, or until the end."""
        client = Hasty(self.world)
        client.connect()
        self.world.run(20 * S)
        assert client.names()[:1] == ["connected"]
        return client.events[1]


class Hasty(Client):
    """Sends as soon as it is connected."""

    def connected(self, connection, now_ns):
        super().connected(connection, now_ns)
        self.send(connection)


def balanced(world):
    counts = world.fabric.counts
    return counts.sent == counts.delivered + sum(counts.dropped.values())


# ---- dials -----------------------------------------------------------------------------------------------------------


def test_the_clients_handshake_ends_at_its_own_node_and_says_nothing_of_the_endpoint():
    proxy = Proxy()
    proxy.refuse(1, 2, 3, 4)
    client = proxy.world.client()
    connection = client.connect()
    proxy.world.run(30 * US)
    assert client.names() == ["connected"]
    assert connection.server_host is proxy.world.hosts[0]


def test_an_endpoint_that_refuses_is_passed_over_at_once():
    ready = Proxy().first_byte_ns()
    proxy = Proxy()
    proxy.refuse(1)
    what, time_ns, endpoint = proxy.first_byte_ns()
    assert (what, endpoint) == ("answered", 2)
    assert 50 * US < time_ns - ready[1] < 500 * US
    assert proxy.resets == [False, True]


@pytest.mark.parametrize(("silent", "delay_ms"), [((1,), 250), ((1, 2), 750), ((1, 2, 3), 1750)])
def test_silent_endpoints_cost_their_dials_time_outs(silent, delay_ms):
    ready = Proxy().first_byte_ns()
    proxy = Proxy()
    proxy.silence(*silent)
    what, time_ns, endpoint = proxy.first_byte_ns()
    assert (what, endpoint) == ("answered", 1 + len(silent))
    assert time_ns - ready[1] == pytest.approx(delay_ms * MS, abs=5 * MS)


def test_after_four_silent_endpoints_the_client_is_reset():
    proxy = Proxy()
    proxy.silence(1, 2, 3, 4)
    what, time_ns, outcome = proxy.first_byte_ns()
    assert (what, outcome) == ("failed", Outcome.RESET)
    assert time_ns == pytest.approx(3750 * MS, abs=5 * MS)
    assert proxy.process.dialed == 4
    assert proxy.tcp.sessions == {}


def test_when_all_refuse_the_client_is_reset_within_a_millisecond():
    proxy = Proxy()
    proxy.refuse(1, 2, 3, 4)
    what, time_ns, outcome = proxy.first_byte_ns()
    assert (what, outcome) == ("failed", Outcome.RESET)
    assert time_ns < 2 * MS
    assert proxy.process.dialed == 4


def test_without_endpoints_the_client_is_reset():
    proxy = Proxy()
    proxy.endpoints = []
    client = proxy.world.client()
    client.connect()
    proxy.world.run(1 * S)
    assert client.names() == ["connected", "disconnected"]


def test_a_dial_that_answers_after_its_time_out_is_closed_again():
    proxy = Proxy()
    proxy.world.topology.routes[("node-1", "node-0")] = type(proxy.world.topology.default)(delay_ns=400 * MS)
    what, _, endpoint = proxy.first_byte_ns()
    assert (what, endpoint) == ("answered", 2)
    assert proxy.world.servers[1].connections == {}
    assert balanced(proxy.world)


def test_a_client_that_leaves_while_the_proxy_dials_ends_the_dialling():
    proxy = Proxy()
    proxy.silence(1, 2, 3, 4)
    connection = proxy.world.client().connect()
    proxy.world.run(100 * MS)
    proxy.world.network.handshakes.close(connection)
    proxy.world.run(20 * S)
    assert proxy.process.dialed == 1
    assert proxy.tcp.sessions == {}


# ---- connections that stand ------------------------------------------------------------------------------------------


def exchange(proxy, client, connection):
    client.send(connection)
    proxy.world.run(proxy.world.clock.now + 1 * S)
    return client.events[-1][0]


def established():
    proxy = Proxy()
    client = proxy.world.client()
    connection = client.connect()
    proxy.world.run(1 * S)
    assert exchange(proxy, client, connection) == "answered"
    return proxy, client, connection


def test_it_survives_the_removal_of_its_rule_and_of_its_endpoint():
    proxy, client, connection = established()
    proxy.captures = False
    proxy.endpoints = proxy.endpoints[1:]
    proxy.tcp.close()
    assert exchange(proxy, client, connection) == "answered"
    assert client.events[-1][2] == 1


def test_it_dies_with_the_process():
    proxy, client, _ = established()
    proxy.exit()
    proxy.world.run(5 * S)
    assert client.names()[-1] == "disconnected"
    assert proxy.world.servers[1].connections == {}
    client.connect()
    proxy.world.run(6 * S)
    assert client.events[-1][2] is Outcome.REFUSED


def test_a_request_under_way_on_a_killed_endpoint_is_lost_as_in_every_mode():
    proxy, client, connection = established()
    client.send(connection)
    proxy.world.at(proxy.world.clock.now + 500 * US, proxy.world.servers[1].kill)
    proxy.world.run(proxy.world.clock.now + 1 * S)
    assert client.names()[-2:] == ["failed", "disconnected"]
    assert client.events[-2][2] is Outcome.RESET
    assert proxy.process.dialed == 1
    assert proxy.tcp.sessions == {}


def test_a_session_whose_handshake_ends_after_the_process_is_reset_at_the_first_segment():
    proxy = Proxy()
    client = proxy.world.client()
    connection = client.connect()
    proxy.world.run(12 * US)
    proxy.exit()
    proxy.world.run(1 * S)
    assert client.names() == ["connected"]
    client.send(connection)
    proxy.world.run(2 * S)
    assert client.names()[1:] == ["failed", "disconnected"]


# ---- records ---------------------------------------------------------------------------------------------------------


def test_parts_still_sum_and_the_endpoint_is_the_pod_behind_the_proxy():
    proxy = Proxy(workers=1)
    proxy.refuse(2)
    load = workload(proxy.world, sources=[source_on(proxy.world)])
    open_loop(load, proxy.world, 1000, 2 * S)
    proxy.world.run(10 * S)
    requests = rows(load)
    assert not requests.outcome.any()
    assert set(requests.endpoint) == {1, 3, 4}
    assert set(requests.server_node) == {1, 3, 4}
    assert (requests.queue_ns > 0).any()
    assert (requests.flags & Flag.MASQUERADED).all()
    redialed = (requests.flags & Flag.REDIALED) > 0
    assert redialed.mean() == pytest.approx(1 / 3, abs=0.05)
    assert set(requests.rules) == {2 + 3 + 2}  # at the client's side, at the dial's, and on the pod's node
    assert balanced(proxy.world)


def test_a_silent_endpoint_is_a_part_of_connecting():
    proxy = Proxy()
    proxy.silence(1)
    load = workload(proxy.world, sources=[source_on(proxy.world)])
    open_loop(load, proxy.world, 50, 2 * S)
    proxy.world.run(10 * S)
    requests = rows(load)
    redialed = (requests.flags & Flag.REDIALED) > 0
    assert redialed.mean() == pytest.approx(0.25, abs=0.1)
    answered = requests.outcome == Outcome.OK
    assert answered.mean() > 0.9  # the others met the silent one at every turn
    assert (requests.connect_ns[answered & redialed] > 250 * MS).all()
    assert (requests.connect_ns[~redialed] < 10 * MS).all()


def test_time_outs_during_every_stage_leave_no_negative_part():
    for timeout_ns in range(300 * US, 3 * MS, 37 * US):
        proxy = Proxy()
        load = workload(proxy.world, sources=[source_on(proxy.world)], timeout_ns=timeout_ns)
        open_loop(load, proxy.world, 1000, 20 * MS)
        proxy.world.run(1 * S)
        rows(load)


def test_one_process_does_the_work_of_all_connections():
    few, many = Proxy(workers=1000), Proxy(workers=1000)
    latencies = []
    for proxy, users in ((few, 1), (many, 60)):
        load = workload(proxy.world, sources=[source_on(proxy.world)], keepalive=True)
        closed_loop(load, proxy.world, users, 1 * US, 1 * S)
        proxy.world.run(3 * S)
        requests = rows(load)
        latencies.append(np.median(requests.request_ns + requests.response_ns))
    assert latencies[1] > 2.5 * latencies[0]
    assert 0.9 * S < many.process.cpu_ns < 1.1 * S


# ---- UDP -------------------------------------------------------------------------------------------------------------


def test_datagrams_of_one_client_socket_go_to_one_endpoint_while_they_follow_each_other():
    proxy = Proxy()
    client = proxy.world.client()
    flow = client.socket()
    for _ in range(5):
        client.datagram(flow)
        proxy.world.run(proxy.world.clock.now + 200 * MS)
    assert [(what, endpoint) for what, _, endpoint in client.events] == [("answered", 1)] * 5
    proxy.world.run(proxy.world.clock.now + 300 * MS)
    client.datagram(flow)
    proxy.world.run(proxy.world.clock.now + 200 * MS)
    assert client.events[-1][2] == 2


def test_another_client_socket_gets_another_endpoint():
    proxy = Proxy()
    client = proxy.world.client()
    for _ in range(3):
        client.datagram(client.socket())
        proxy.world.run(proxy.world.clock.now + 10 * MS)
    assert [endpoint for _, _, endpoint in client.events] == [1, 2, 3]


def test_a_refused_datagram_is_lost_and_the_next_one_goes_elsewhere():
    proxy = Proxy()
    proxy.refuse(1)
    client = proxy.world.client()
    flow = client.socket()
    client.datagram(flow)
    proxy.world.run(100 * MS)
    assert client.events == []
    client.datagram(flow)
    proxy.world.run(200 * MS)
    assert [(what, endpoint) for what, _, endpoint in client.events] == [("answered", 2)]


def test_parts_sum_over_udp_too():
    proxy = Proxy(workers=1)
    load = workload(proxy.world, sources=[source_on(proxy.world)], protocol=UDP, keepalive=True)
    open_loop(load, proxy.world, 500, 2 * S)
    proxy.world.run(10 * S)
    requests = rows(load)
    assert not requests.outcome.any()
    assert set(requests.endpoint) <= {1, 2, 3, 4}
    assert balanced(proxy.world)


def test_without_the_process_datagrams_are_refused():
    proxy = Proxy()
    proxy.exit()
    client = proxy.world.client()
    client.datagram(client.socket())
    proxy.world.run(1 * S)
    assert client.events[0][2] is Outcome.REFUSED
