"""How many rules a connection costs: p for the Service's place on the client's node, and the whole list again on the pod's."""

import numpy as np
import pytest

import svcsim
import svcsim.world
from svcsim.kube.api.service import Service
from svcsim.linux.address import parse_address
from svcsim.linux.packet import TCP, Hook, Packet, Verdict
from tests.world.small import small

QUICK = {"run__duration": "3s"}


def rules_by_place(services, mode="iptables"):
    """For each client's node: rules of a connection to a pod of the node, and to one of another."""
    requests = svcsim.run_one(small(mode=mode, services={"count": services}, **QUICK)).requests
    found = {}
    for node in range(3):
        mine = requests.client_node == node
        here = set(requests.rules[mine & (requests.server_node == node)].tolist())
        there = set(requests.rules[mine & (requests.server_node != node)].tolist())
        found[node] = (here, there)
    return found


def _pod_address(world, host):
    return next(running.namespace.address for running in world.containers.running.values() if running.namespace.host is host)


@pytest.mark.parametrize("count", [0, 1, 50, 400])
def test_a_cross_node_connection_walks_p_rules_and_then_all_of_them(count):
    settings = {"services": {"count": count}} if count else {}
    total = count + 1  # web is a Service too
    world = svcsim.world.build(small(**settings))
    web = world.store.get(Service, "default/web")
    places = []
    for host in world.network.fabric.hosts:
        packet = Packet(TCP, _pod_address(world, host), 40000, parse_address(web.spec.cluster_ip), 80, Hook.PREROUTING)
        first = host.path.decide(packet, 0.5, 0)
        assert first.verdict is Verdict.DNAT
        assert 1 <= first.service_rules <= total
        rewritten = Packet(TCP, packet.source, 40000, first.destination, first.destination_port, Hook.PREROUTING)
        second = host.path.decide(rewritten, 0.5, 0)
        assert second.verdict is Verdict.NO_MATCH
        assert second.service_rules == total + 1  # with the jump to the node ports at the list's end
        places.append(first.service_rules)
    if count >= 50:
        assert len(set(places)) > 1  # a Go map's order, another on each node


def test_in_a_run_the_rules_of_a_connection_grow_with_the_services_only_where_the_packet_is_new():
    few, many = rules_by_place(10), rules_by_place(110)
    for node in range(3):
        (here_few, there_few), (here_many, there_many) = few[node], many[node]
        # An endpoint's place in the statistic chain counts too: one pod is here, two are there.
        assert len(here_few) == len(here_many) == 1
        assert len(there_few) == len(there_many) == 2
        assert (min(there_many) - min(here_many)) - (min(there_few) - min(here_few)) == 100
        assert min(here_many) - min(here_few) <= 110


@pytest.mark.parametrize("mode", ["ipvs/rr", "nftables"])
def test_ipvs_and_nftables_look_services_up(mode):
    few, many = rules_by_place(10, mode), rules_by_place(110, mode)
    assert few == many


def test_latency_of_a_connection_grows_with_the_list_in_iptables_mode_alone():
    def median(mode, count):
        result = svcsim.run_one(small(mode=mode, services={"count": count}, **QUICK))
        return float(np.median(result.requests.latency_ns))

    assert median("iptables", 1000) > median("iptables", 10) + 3_000
    for mode in ("ipvs/rr", "nftables"):
        assert median(mode, 1000) == pytest.approx(median(mode, 10), rel=0.002)


@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
@pytest.mark.parametrize(("mode", "alone"), [("iptables", 0), ("ipvs", 1), ("nftables", 0)])
def test_a_decision_tells_among_how_many_endpoints_it_chose_first_and_when_the_client_is_remembered(mode, alone, affinity):
    for pods in (1, 7):
        settings = {
            "manifests[deployment/web].spec.replicas": pods, "manifests[service/web].spec.sessionAffinity": affinity,
        }
        world = svcsim.world.build(small(mode=mode, **settings))
        service = world.store.get(Service, "default/web")
        host = world.network.fabric.hosts[0]
        for port in (40000, 40001):
            packet = Packet(
                TCP, parse_address("10.244.9.9"), port, parse_address(service.spec.cluster_ip), 80, Hook.PREROUTING
            )
            assert host.path.decide(packet, 0.3, 0).endpoints == (pods if pods > 1 else alone)
