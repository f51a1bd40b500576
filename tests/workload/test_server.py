"""A pod's process: what it does with requests, and what it does when it is hung, slow, closed, told to stop, or killed."""

import pytest

from svcsim.datapath.connection import Request
from svcsim.datapath.host import SynAnswer
from svcsim.linux.packet import TCP
from svcsim.results.records import Outcome
from svcsim.units import MS, US, S
from svcsim.workload import distributions
from svcsim.workload.server import Server, ServerProfile, State
from tests.datapath.small_world import SmallWorld

SERVICE_NS = 10 * MS
HERE = 100_000  # ns: more than anything takes on the way


class Pod:
    """One server on the clients' node, with one worker and a service of 10 ms unless a test says otherwise."""

    def __init__(self, **profile):
        self.world = SmallWorld(nodes=1)
        self.server = self.world.servers[0]
        self.server.profile = ServerProfile(**{"service_time": distributions.constant(SERVICE_NS), "workers": 1} | profile)
        self.client = self.world.client()
        self.exits = []
        self.server.on_exit = lambda: self.exits.append(self.world.clock.now)

    def connect(self, count=1):
        made = [self.client.connect() for _ in range(count)]
        self.world.run(self.world.clock.now + 1 * MS)
        assert all(connection.open for connection in made)
        return made

    def probe(self, connection):
        request = Request(self.client, 0, self.world.clock.now, 100, 100, 0.5, 0.0)
        request.connection = connection
        request.is_probe = True
        self.world.network.exchanges.send(request)
        return request

    def answers(self):
        return [at_ns for what, at_ns, _ in self.client.events if what == "answered"]

    def after(self, delay_ns, action):
        self.world.at(self.world.clock.now + delay_ns, action)

    def run(self, duration_ns):
        self.world.run(self.world.clock.now + duration_ns)

    def outcomes(self):
        return [detail for what, _, detail in self.client.events if what in {"failed", "connect failed"}]


# ---- the queue -------------------------------------------------------------------------------------------------------


def one_after_the_other(pod, connections):
    """Requests that arrive in this order, whatever queues of the node they pass."""
    requests = []
    for connection in connections:
        requests.append(pod.client.send(connection))
        pod.run(20 * US)
    return requests


def test_requests_beyond_the_workers_wait_in_order():
    pod = Pod(workers=2)
    requests = one_after_the_other(pod, pod.connect(5))
    pod.run(1 * S)
    waits = [request.queue_ns for request in requests]
    assert waits == pytest.approx([0, 0, SERVICE_NS, SERVICE_NS, 2 * SERVICE_NS], abs=HERE)
    assert pod.server.served == 5


def test_one_more_than_the_queue_holds_is_told_so_at_once():
    pod = Pod(queue_limit=2)
    requests = one_after_the_other(pod, pod.connect(5))
    pod.run(1 * MS)
    assert [bool(request.status) for request in requests] == [False, False, False, True, True]
    assert len(pod.answers()) == 2
    pod.run(1 * S)
    assert len(pod.answers()) == 5
    assert pod.server.served == 3


def test_a_limit_of_nothing_lets_only_workers_take_requests():
    pod = Pod(queue_limit=0)
    requests = one_after_the_other(pod, pod.connect(2))
    pod.run(1 * S)
    assert [bool(request.status) for request in requests] == [False, True]


# ---- probes ----------------------------------------------------------------------------------------------------------


def test_probes_share_the_queue_unless_they_are_separate():
    for probes, expected_ns in (("shared", 2 * SERVICE_NS), ("separate", SERVICE_NS)):
        pod = Pod(probes=probes)
        work, probing = pod.connect(2)
        pod.client.send(work)
        begin = pod.world.clock.now
        pod.probe(probing)
        pod.run(1 * S)
        last = pod.answers()[-1] if probes == "shared" else pod.answers()[0]
        assert last - begin == pytest.approx(expected_ns, abs=HERE)


def test_a_separate_probe_is_answered_by_an_overloaded_process_and_takes_no_worker_from_it():
    pod = Pod(probes="separate", queue_limit=0)
    work, other, probing = pod.connect(3)
    probe = pod.probe(probing)
    request, refused = one_after_the_other(pod, [work, other])
    pod.run(1 * S)
    assert (bool(request.status), bool(refused.status), bool(probe.status)) == (False, True, False)
    assert pod.server.served == 1


def test_a_hung_process_answers_no_probe_of_either_kind():
    for probes in ("shared", "separate"):
        pod = Pod(probes=probes)
        (connection,) = pod.connect()
        pod.server.hang()
        pod.probe(connection)
        pod.run(10 * S)
        assert pod.answers() == []
        pod.server.resume()
        pod.run(1 * S)
        assert len(pod.answers()) == 1


# ---- hang and slow ---------------------------------------------------------------------------------------------------


def test_what_was_being_served_goes_on_where_it_stood():
    pod = Pod()
    (connection,) = pod.connect()
    begin = pod.world.clock.now
    pod.client.send(connection)
    pod.after(4 * MS, pod.server.hang)
    pod.after(104 * MS, pod.server.resume)
    pod.run(1 * S)
    assert pod.answers()[0] - begin == pytest.approx(110 * MS, abs=HERE)


def test_two_hangs_in_one_service_add_up():
    pod = Pod()
    (connection,) = pod.connect()
    begin = pod.world.clock.now
    request = pod.client.send(connection)
    for at_ns in (2 * MS, 40 * MS):
        pod.after(at_ns, pod.server.hang)
        pod.after(at_ns + 30 * MS, pod.server.resume)
    pod.run(1 * S)
    assert pod.answers()[0] - begin == pytest.approx(70 * MS, abs=HERE)
    assert request.service_ns == pytest.approx(70 * MS, abs=HERE)


def test_a_hang_shorter_than_what_is_left_only_shifts_the_end():
    pod = Pod()
    (connection,) = pod.connect()
    begin = pod.world.clock.now
    pod.client.send(connection)
    pod.after(2 * MS, pod.server.hang)
    pod.after(5 * MS, pod.server.resume)
    pod.run(1 * S)
    assert pod.answers()[0] - begin == pytest.approx(13 * MS, abs=HERE)


def test_what_comes_in_during_a_hang_waits_and_is_served_in_order_afterwards():
    pod = Pod()
    connections = pod.connect(3)
    pod.server.hang()
    begin = pod.world.clock.now
    for connection in connections:
        pod.client.send(connection)
    pod.after(1 * S, pod.server.resume)
    pod.run(3 * S)
    assert [at_ns - begin for at_ns in pod.answers()] == pytest.approx([1010 * MS, 1020 * MS, 1030 * MS], abs=HERE)


def test_the_kernel_accepts_for_a_hung_process_until_its_backlog_is_full():
    pod = Pod(backlog=3)
    pod.server.hang()
    for _ in range(5):
        pod.client.connect()
    pod.run(900 * MS)
    assert pod.client.names() == ["connected"] * 3
    pod.server.resume()
    pod.run(1 * S)
    assert pod.client.names() == ["connected"] * 5


def test_a_slow_process_takes_a_factor_longer_for_what_it_begins_from_now_on():
    pod = Pod()
    first, second = pod.connect(2)
    begin = pod.world.clock.now
    pod.client.send(first)
    pod.run(1 * MS)
    pod.server.slowdown = 5.0
    pod.client.send(second)
    pod.run(1 * S)
    assert [at_ns - begin for at_ns in pod.answers()] == pytest.approx([10 * MS, 60 * MS], abs=HERE)


def test_it_is_alive_unless_it_is_hung_or_has_stopped():
    pod = Pod()
    assert pod.server.is_alive
    pod.server.hang()
    assert not pod.server.is_alive
    pod.server.resume()
    pod.server.close_port()
    assert pod.server.is_alive
    pod.server.kill()
    assert not pod.server.is_alive


# ---- the port --------------------------------------------------------------------------------------------------------


def test_a_closed_port_refuses_new_connections_and_serves_the_old_ones():
    pod = Pod()
    (connection,) = pod.connect()
    pod.server.close_port()
    pod.client.connect()
    pod.client.send(connection)
    pod.run(1 * S)
    assert pod.outcomes() == [Outcome.REFUSED]
    assert len(pod.answers()) == 1
    pod.server.reopen_port()
    pod.connect()


def test_a_process_that_hangs_with_its_port_closed_refuses_all_the_same():
    pod = Pod()
    pod.server.close_port()
    pod.server.hang()
    pod.client.connect()
    pod.run(1 * S)
    assert pod.outcomes() == [Outcome.REFUSED]
    pod.server.resume()
    assert pod.server.state is State.CLOSED


# ---- SIGTERM ---------------------------------------------------------------------------------------------------------


def test_a_draining_process_finishes_what_is_under_way_closes_the_rest_and_exits():
    pod = Pod()
    busy, waiting, idle = pod.connect(3)
    begin = pod.world.clock.now
    pod.client.send(busy)
    pod.client.send(waiting)
    pod.run(1 * MS)
    pod.server.terminate()
    pod.run(1 * MS)
    assert not idle.open
    pod.client.connect()
    pod.run(1 * S)
    assert len(pod.answers()) == 2
    assert pod.outcomes() == [Outcome.REFUSED]
    assert pod.exits == pytest.approx([begin + 20 * MS], abs=HERE)
    assert pod.client.names().count("disconnected") == 3


def test_a_request_on_its_way_when_sigterm_comes_is_still_served():
    pod = Pod()
    (connection,) = pod.connect()
    pod.client.send(connection)
    pod.server.terminate()
    assert pod.exits == []
    pod.run(1 * S)
    assert pod.client.names() == ["connected", "answered", "disconnected"]
    assert len(pod.exits) == 1


def test_an_answer_behind_which_the_process_exits_arrives_before_the_end_of_the_connection():
    pod = Pod()
    (connection,) = pod.connect()
    pod.client.send(connection)
    pod.run(5 * MS)
    free, queue, *_ = connection.backward[0]
    free[queue] = pod.world.clock.now + 25 * MS  # the answer has to wait for the CPU, a RST would not
    pod.server.terminate()
    pod.run(1 * S)
    assert pod.client.names() == ["connected", "answered", "disconnected"]


def test_an_idle_process_exits_at_once():
    pod = Pod()
    pod.connect(2)
    pod.server.terminate()
    assert pod.exits == [pod.world.clock.now]
    assert pod.server.state is State.STOPPED


def test_a_client_that_leaves_lets_the_process_exit():
    pod = Pod()
    (connection,) = pod.connect()
    pod.client.send(connection)
    pod.server.terminate()
    assert pod.exits == []
    pod.world.network.handshakes.close(connection)
    pod.run(1 * S)
    assert len(pod.exits) == 1


def test_a_program_without_a_handler_exits_at_once_and_resets_what_is_under_way():
    pod = Pod(drain="exit")
    (connection,) = pod.connect()
    pod.client.send(connection)
    pod.run(1 * MS)
    pod.server.terminate()
    assert len(pod.exits) == 1
    pod.run(1 * S)
    assert pod.outcomes() == [Outcome.RESET]


def test_a_program_that_ignores_sigterm_goes_on_until_it_is_killed():
    pod = Pod(drain="ignore")
    (connection,) = pod.connect()
    pod.server.terminate()
    pod.client.send(connection)
    pod.run(1 * S)
    pod.connect()
    assert len(pod.answers()) == 1
    assert pod.exits == []
    pod.server.kill()
    assert pod.server.state is State.STOPPED


def test_a_hung_process_handles_sigterm_when_it_goes_on():
    pod = Pod()
    pod.connect()
    pod.server.hang()
    pod.server.terminate()
    pod.run(1 * S)
    assert pod.exits == []
    pod.server.resume()
    assert pod.exits == [pod.world.clock.now]


def test_a_process_that_hangs_while_it_drains_goes_on_draining():
    pod = Pod()
    (connection,) = pod.connect()
    pod.client.send(connection)
    pod.run(1 * MS)
    pod.server.terminate()
    pod.server.hang()
    pod.run(1 * S)
    assert pod.exits == []
    pod.server.resume()
    pod.run(1 * S)
    assert pod.client.names() == ["connected", "answered", "disconnected"]
    assert len(pod.exits) == 1


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_a_kill_loses_what_waits_and_what_is_served_and_tells_all_clients():
    pod = Pod()
    connections = pod.connect(3)
    for connection in connections[:2]:
        pod.client.send(connection)
    pod.run(1 * MS)
    pod.server.kill()
    pod.run(1 * S)
    assert pod.outcomes() == [Outcome.RESET] * 2
    assert pod.client.names().count("disconnected") == 3
    assert pod.answers() == []
    assert pod.exits == []


def test_a_kill_while_it_hangs_takes_the_frozen_services_with_it():
    pod = Pod()
    (connection,) = pod.connect()
    pod.client.send(connection)
    pod.run(1 * MS)
    pod.server.hang()
    pod.run(1 * S)
    pod.server.kill()
    pod.server.resume()
    pod.run(1 * S)
    assert pod.outcomes() == [Outcome.RESET]


def test_power_off_tells_nobody_and_the_next_process_knows_nothing_of_the_old_connections():
    pod = Pod()
    idle, busy = pod.connect(2)
    pod.client.send(busy)
    pod.run(1 * MS)
    pod.server.power_off()
    pod.run(1 * S)
    assert pod.client.names() == ["connected"] * 2
    network, sandbox = pod.world.network, pod.world.pods[0]
    sandbox.listeners[(TCP, 8080)] = Server(pod.server.profile, sandbox, 0, network.exchanges, network.handshakes)
    pod.client.send(idle)
    pod.run(1 * S)
    assert pod.outcomes() == [Outcome.RESET]


def test_a_connection_that_stands_after_its_process_went_is_reset_at_the_first_segment():
    pod = Pod()
    connection = pod.client.connect()
    pod.run(12_000)
    assert connection.server is pod.server
    assert not connection.open
    pod.server.kill()
    pod.run(1 * MS)
    assert pod.client.names() == ["connected"]
    pod.client.send(connection)
    pod.run(1 * S)
    assert pod.outcomes() == [Outcome.RESET]


def test_a_stopped_process_accepts_nothing():
    pod = Pod()
    pod.server.kill()
    assert pod.server.syn(None, 0) is SynAnswer.REFUSE
