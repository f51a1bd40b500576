"""Defaults of the node's components that a scenario may change do what they say."""

import pytest

from svcsim.kubeproxy.ipvs_proxier import IpvsProxier
from svcsim.results.records import Outcome
from svcsim.units import MS, S
from svcsim.world import build
from tests.world.small import see, small


def test_the_userspace_proxy_dials_on_each_time_with_twice_the_time():
    dead = ({"at": "1s", "down": "node/worker-1"}, {"at": "1s", "down": "node/worker-2"})
    late = see(*dead, mode="userspace", kubernetes__timings={"proxyDial": "20ms"}, run__duration="4s").between(1.5, 3).requests
    answered = late.latency_ns[late.outcome == Outcome.OK]
    assert {0, 1, 3} <= set((answered // (20 * MS)).tolist()) <= {0, 1, 3, 7}  # after 20 ms, 40 ms more, and 80 ms more


def test_real_servers_that_drain_are_looked_at_as_often_as_the_scenario_says(monkeypatch):
    looked = []
    monkeypatch.setattr(IpvsProxier, "check_terminating", lambda _, now_ns: looked.append(now_ns))
    see(mode="ipvs/rr", kubernetes__timings={"proxyGracefulCheck": "2s"}, run__duration="5s")
    assert looked == [2 * S] * 3 + [4 * S] * 3


@pytest.mark.parametrize(
    ("fault", "conntrack"),
    [({}, {"tcpTimeWait": "500ms"}), ({"at": "1s", "down": "node/worker-2"}, {"tcpSynSent": "500ms", "tcpTimeWait": "500ms"})],
)
def test_a_node_forgets_a_connection_after_the_time_of_its_state(fault, conntrack):
    def entries(**timeouts):
        world = build(small(*([fault] if fault else []), run__duration="5s", cluster__conntrack=timeouts))
        world.run()
        return sum(host.conntrack.count(5 * S) for host in world.network.fabric.hosts)

    assert entries(**conntrack) < 0.25 * entries()


def test_a_node_that_shuts_a_connection_with_a_reset_forgets_it_after_its_time():
    """`tcpClose`: a killed pod resets what is under way."""
    hung = {"at": "1s", "hang": "deployment/web"}
    killed = {"at": "1900ms", "kill": "deployment/web"}

    def entries(close):
        world = build(small(hung, killed, run__duration="2s", cluster__conntrack={"tcpClose": close, "tcpTimeWait": "1ms"}))
        world.run()
        return sum(host.conntrack.count(4 * S) for host in world.network.fabric.hosts)

    assert entries("1s") == 0
    assert entries("10s") > 50
