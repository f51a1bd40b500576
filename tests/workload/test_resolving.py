"""Names are resolved by real queries over the simulated network."""

import pytest

from svcsim.datapath.fabric import FabricSettings
from svcsim.kube.api.service import Service
from svcsim.kube.dns.answers import DnsServer
from svcsim.kube.dns.config import DnsConfig
from svcsim.kube.dns.resolv_conf import ResolvConf
from svcsim.kube.dns.resolver import Resolver
from svcsim.kube.dns.zone import Zone
from svcsim.linux.address import format_address, parse_address
from svcsim.linux.packet import TCP, UDP, Verdict
from svcsim.units import MS, S
from svcsim.workload.name_server import NameService
from svcsim.workload.resolving import Resolvers
from tests.datapath.small_world import VIP, Decision, SmallWorld


class DnsRules:
    """10.96.0.10:53 leads to the pods' port 8080."""

    def __init__(self, world):
        self.world = world
        self.verdict = None

    def decide(self, packet, uniform, now_ns):
        if packet.destination != VIP:
            return Decision(Verdict.NO_MATCH, packet.destination, packet.destination_port)
        if self.verdict is not None:
            return Decision(self.verdict, packet.destination, packet.destination_port)
        pods = self.world.pods
        return Decision(Verdict.DNAT, pods[int(uniform * len(pods))].address, 8080)


def world_with_dns(**settings):
    world = SmallWorld(service_ns=MS // 10, settings=FabricSettings(**settings))
    rules = DnsRules(world)
    for host in world.hosts:
        host.path = rules
    zone = Zone()
    zone.set_service(
        Service.model_validate(
            {"metadata": {"namespace": "default", "name": "web"}, "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}}
        )
    )
    service = NameService(DnsServer(zone, DnsConfig(upstream={})), upstream_ns=5 * MS)
    for server in world.servers:
        server.handler = service.handle
    return world, rules, service


def resolver(*options, libc="glibc"):
    searches = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    return Resolver(ResolvConf(("10.96.0.10",), searches, ("ndots:5", *options)), libc)


def look_up(world, name, conf=None, key=1):
    results = []
    Resolvers(world.network, 1).resolve(
        conf or resolver(), world.client_pod, name, key,
        lambda addresses, queries: results.append((addresses, queries, world.clock.now)),
    )
    return results


def test_a_short_name_takes_one_candidate_and_two_questions():
    world, _, service = world_with_dns()
    results = look_up(world, "web")
    world.run(1 * S)
    assert [(format_address(a[0]), queries) for a, queries, _ in results] == [("10.96.7.7", 2)]
    assert service.answered == 2


def test_a_name_with_two_dots_takes_three_candidates_and_six_questions():
    world, _, _ = world_with_dns()
    results = look_up(world, "web.default.svc")
    world.run(1 * S)
    assert results[0][0] == (parse_address("10.96.7.7"),)
    assert results[0][1] == 6


def test_a_name_that_nobody_has_ends_without_addresses():
    world, _, _ = world_with_dns()
    results = look_up(world, "nowhere.default.svc.cluster.local.")
    world.run(1 * S)
    assert results[0][0] == ()


def test_without_an_answer_the_resolver_asks_again_after_five_seconds():
    world, rules, _ = world_with_dns()
    rules.verdict = Verdict.DROP
    results = look_up(world, "web")
    world.run(4 * S)
    rules.verdict = None
    world.run(20 * S)
    assert results[0][0] == (parse_address("10.96.7.7"),)
    assert results[0][2] == pytest.approx(5 * S, abs=20 * MS)


def test_a_lost_race_of_the_two_questions_costs_five_seconds_on_an_old_kernel():
    waits = []
    for key in range(1, 30):
        world, _, _ = world_with_dns(resolve_clash=False, datagram_migration=1.0)
        results = look_up(world, "web", key=key)
        world.run(30 * S)
        waits.append(round(results[0][2] / S))
    assert set(waits) == {0, 5}


def test_the_sockets_of_a_look_up_are_closed():
    world, _, _ = world_with_dns()
    look_up(world, "web")
    world.run(1 * S)
    assert all(not server.connections for server in world.servers)
    assert (UDP, 8080) in world.pods[0].listeners
    assert (TCP, 8080) in world.pods[0].listeners
