"""IPv6 and dual stack end to end: in each mode and each kind of cluster traffic gets through, and each family is its own."""

import numpy as np
import pytest

import svcsim
from svcsim.engine.journal import Happening
from svcsim.errors import UsageError
from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.change_tracker import Changes
from svcsim.kubeproxy.conntrack_cleanup import stale_entries
from svcsim.linux.address import format_address, is_ipv6, parse_address
from svcsim.linux.conntrack import split_flow_key
from svcsim.linux.packet import TCP, Hook, Packet, Verdict
from svcsim.results.records import Outcome
from svcsim.scenario.resolved import resolved_data, resolved_yaml
from svcsim.units import S
from svcsim.world import build
from tests.world.shipped import FOLDER
from tests.world.small import ALL_MODES, KERNEL_MODES, SMALL, Seen, see, small

IPV6 = {"kubernetes__serviceCIDR": "fd00:10:96::/112"}
IPV4_FIRST = {"kubernetes__serviceCIDR": "10.96.0.0/12,fd00:10:96::/112"}
IPV6_FIRST = {"kubernetes__serviceCIDR": "fd00:10:96::/112,10.96.0.0/12"}
DUAL = SMALL.replace("      selector: {app: web}\n", "      ipFamilyPolicy: RequireDualStack\n      selector: {app: web}\n", 1)
NODE_PORT = DUAL.replace("    spec:\n      ipFamily", "    spec:\n      type: NodePort\n      ipFamily", 1)
PROBE = "              readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 2}\n"
DUAL_UDP = (
    DUAL.replace("port: 80, targetPort: 8080}", "protocol: UDP, port: 80, targetPort: 8080}").replace(PROBE, "")
    .replace("containerPort: 8080}", "containerPort: 8080, protocol: UDP}").replace("http://web", "udp://web")
)
BY_NAME = {"workloads__0__resolve": "connection"}
USER = {"cluster__outside": [{"name": "user", "address": "2001:db8::10,203.0.113.10"}]}


def families_of_targets(scenario, until_s=2):
    """The families of the addresses that clients send to, a moment into a run."""
    world = build(scenario)
    world.advance(until_s * S)
    targets = {source.target for workload in world.clients.workloads for source in workload.sources}
    return {"IPv6" if is_ipv6(target) else "IPv4" for target in targets}


# ---- traffic -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_cluster_of_ipv6_alone_serves_in_every_mode(mode):
    seen = see(mode=mode, run__duration="5s", **IPV6)
    assert seen.failed() == 0
    assert len(seen.answered()) == 3
    assert families_of_targets(small(mode=mode, **IPV6)) == {"IPv6"}


@pytest.mark.parametrize("mode", KERNEL_MODES)
@pytest.mark.parametrize("cluster", [IPV4_FIRST, IPV6_FIRST], ids=["IPv4-first", "IPv6-first"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_a_dual_stack_service_is_reached_by_both_families(mode, cluster, family):
    seen = see(mode=mode, text=DUAL, run__duration="4s", workloads__0__family=family, **cluster)
    assert seen.failed() == 0
    assert len(seen.answered()) == 3
    assert families_of_targets(small(mode=mode, text=DUAL, workloads__0__family=family, **cluster)) == {family}


@pytest.mark.parametrize("cluster", [IPV4_FIRST, IPV6_FIRST], ids=["IPv4-first", "IPv6-first"])
def test_userspace_mode_serves_the_primary_family_alone(cluster):
    first, second = ("IPv4", "IPv6") if cluster is IPV4_FIRST else ("IPv6", "IPv4")
    assert see(mode="userspace", text=DUAL, run__duration="3s", workloads__0__family=first, **cluster).failed() == 0
    seen = see(mode="userspace", text=DUAL, run__duration="3s", workloads__0__family=second, **cluster)
    assert set(seen.outcomes()) == {Outcome.CONNECT_TIMEOUT}


@pytest.mark.parametrize("mode", KERNEL_MODES)
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_node_ports_answer_clients_outside_on_both_addresses(mode, family):
    seen = see(
        mode=mode, text=NODE_PORT, run__duration="3s", workloads__0__family=family, workloads__0__from="outside/user",
        workloads__0__to="nodePort://web.default:80", **IPV4_FIRST, **USER,
    )
    assert seen.failed() == 0
    assert len(seen.answered()) == 3


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_datagrams_of_both_families_are_answered(mode):
    for family in ("IPv4", "IPv6"):
        seen = see(mode=mode, text=DUAL_UDP, run__duration="3s", workloads__0__family=family, **IPV4_FIRST)
        assert seen.failed() == 0
        assert len(seen.answered()) == 3


@pytest.mark.parametrize("ip_mode", ["VIP", "Proxy"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_a_balancer_has_an_address_of_each_family_of_its_service(ip_mode, family):
    settings = {
        "text": NODE_PORT.replace("type: NodePort", "type: LoadBalancer"), "workloads__0__from": "outside/user",
        "workloads__0__to": "loadBalancer://web.default:80", "cluster__cloud": {"ipMode": ip_mode}, **IPV6_FIRST, **USER,
    }
    world = build(small(workloads__0__family=family, **settings))
    points = world.store.require(Service, "default/web").status.load_balancer.ingress
    assert [point.ip for point in points] == ["2001:db8:51::2", "198.51.100.2"]
    seen = see(run__duration="3s", workloads__0__family=family, workloads__0__timeout="2s", **settings)
    assert seen.failed() == 0
    assert len(seen.answered()) == 3
    assert families_of_targets(small(workloads__0__family=family, **settings)) == {family}
    assert families_of_targets(small(**settings)) == {"IPv6"}


def test_an_address_of_ipv6_is_a_destination():
    address = str(pod_addresses(small(text=DUAL, **IPV4_FIRST))[1])
    seen = see(text=DUAL, run__duration="2s", workloads__0__to=f"http://[{address}]:8080", **IPV4_FIRST)
    assert seen.failed() == 0
    assert len(seen.answered()) == 1


def test_who_has_no_address_of_the_family_gets_no_further_than_its_own_kernel():
    seen = see(run__duration="2s", workloads__0__to="http://[fd00:10:96::5]:80")
    assert set(seen.outcomes()) == {Outcome.NO_ROUTE}
    assert seen.result.requests.connect_ns.max() == 0
    assert seen.result.counters.packets_dropped == {}
    datagrams = see(run__duration="2s", workloads__0__to="udp://[fd00:10:96::5]:80")
    assert set(datagrams.outcomes()) == {Outcome.NO_ROUTE}


@pytest.mark.parametrize("mode", ["iptables", "nftables", "ipvs/rr"])
def test_ipv6_costs_what_ipv4_costs(mode):
    latencies = [
        np.sort(see(mode=mode, run__duration="4s", **cluster).result.requests.latency_ns) for cluster in ({}, IPV6)
    ]
    assert np.median(latencies[1]) == pytest.approx(np.median(latencies[0]), rel=0.01)
    assert latencies[1].mean() == pytest.approx(latencies[0].mean(), rel=0.05)


# ---- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", [IPV4_FIRST, IPV6_FIRST], ids=["IPv4-first", "IPv6-first"])
def test_a_name_of_both_families_leads_to_ipv6_unless_the_client_wants_the_other(cluster):
    assert see(text=DUAL, run__duration="3s", **BY_NAME, **cluster).failed() == 0
    assert families_of_targets(small(text=DUAL, **BY_NAME, **cluster)) == {"IPv6"}
    assert families_of_targets(small(text=DUAL, workloads__0__family="IPv4", **BY_NAME, **cluster)) == {"IPv4"}


def test_a_service_of_one_family_leads_there_whatever_the_pods_have():
    for cluster, family in ((IPV4_FIRST, "IPv4"), (IPV6_FIRST, "IPv6"), (IPV6, "IPv6")):
        assert see(run__duration="3s", **BY_NAME, **cluster).failed() == 0
        assert families_of_targets(small(**BY_NAME, **cluster)) == {family}


def test_a_name_without_addresses_of_the_wanted_family_is_not_found():
    seen = see(run__duration="3s", workloads__0__family="IPv6", **BY_NAME, **IPV4_FIRST)
    assert set(seen.outcomes()) == {Outcome.DNS_FAILURE}
    with pytest.raises(UsageError, match=r"can reach no address of IPv6 of web\.default\.svc \(10\."):
        see(run__duration="3s", workloads__0__family="IPv6", **IPV4_FIRST)


def test_cluster_dns_stands_behind_addresses_of_both_families():
    world = build(small(text=DUAL, **BY_NAME, **IPV6_FIRST))
    service = world.store.require(Service, "kube-system/kube-dns")
    assert service.spec.cluster_ips == ("fd00:10:96::a", "10.96.0.10")
    assert world.naming.resolver_of(world.containers.running[client_pod(world)].namespace).servers == (
        parse_address("fd00:10:96::a"),
    )


# ---- objects -------------------------------------------------------------------------------------------------------------


def client_pod(world):
    return next(key for key in world.containers.running if key.startswith("default/client"))


def pod_addresses(scenario):
    world = build(scenario)
    return next(pod for pod in world.store.each(Pod) if pod.metadata.labels.get("app") == "web").addresses


@pytest.mark.parametrize(("cluster", "families"), [
    ({}, ["IPv4"]), (IPV6, ["IPv6"]), (IPV4_FIRST, ["IPv4", "IPv6"]), (IPV6_FIRST, ["IPv6", "IPv4"]),
])
def test_nodes_pods_services_and_slices_have_the_families_of_the_cluster(cluster, families):
    def of(addresses):
        return ["IPv6" if ":" in address else "IPv4" for address in addresses]

    dual = len(families) == 2
    world = build(small(text=DUAL if dual else SMALL, **cluster))
    for node in world.store.each(Node):
        assert of(node.internal_ips) == families
        assert of(node.pod_cidrs) == families
        assert node.spec.pod_cidr == node.pod_cidrs[0]
    for pod in world.store.each(Pod):
        assert of(pod.addresses) == families
        assert pod.status.pod_ip == pod.addresses[0]
    service = world.store.require(Service, "default/web")
    assert of(service.spec.cluster_ips) == families == list(service.spec.ip_families)
    slices = [piece for piece in world.store.each(EndpointSlice) if piece.service_key == "default/web"]
    assert sorted(piece.address_type for piece in slices) == sorted(families)
    for piece in slices:
        assert {family for endpoint in piece.endpoints for family in of(endpoint.addresses)} == {piece.address_type}
    endpoints = world.store.require(Endpoints, "default/web")
    assert {family for subset in endpoints.subsets for each in subset.addresses for family in of([each.ip])} == {families[0]}


def test_addresses_of_nodes_may_be_given_in_both_families_or_in_one():
    world = build(small(
        cluster__nodes={"list": [
            {"name": "worker-1", "address": "10.1.0.1,fd01::1"}, {"name": "worker-2", "address": "fd01::2"}, {"name": "worker-3"},
        ]}, **IPV4_FIRST,
    ))
    addresses = [list(map(format_address, host.namespace.addresses)) for host in world.network.fabric.hosts]
    assert addresses == [["10.1.0.1", "fd01::1"], ["192.168.0.11", "fd01::2"], ["192.168.0.12", "fd00:192:168::c"]]


# ---- rules ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("cluster", [IPV6, IPV4_FIRST, IPV6_FIRST], ids=["IPv6", "IPv4-first", "IPv6-first"])
def test_walk_and_table_agree_on_packets_of_each_family(mode, cluster):
    text = NODE_PORT if cluster is not IPV6 else SMALL
    walked, decided = (build(small(mode=mode, text=text, **cluster)) for _ in range(2))
    service = walked.store.require(Service, "default/web")
    targets = [(parse_address(address), port) for address in service.spec.cluster_ips for port in (80, 81)]
    for host in walked.network.fabric.hosts:
        targets += [(address, service.spec.ports[0].node_port or 1) for address in host.namespace.addresses]
    targets += [(address, 8080) for address in walked.network.fabric.namespaces]
    verdicts = set()
    for node in (0, 2):
        here, there = (world.network.fabric.hosts[node] for world in (walked, decided))
        for source in (walked.containers.running[client_pod(walked)].namespace, here.namespace):
            for number, (destination, port) in enumerate(targets):
                if not source.towards(destination):
                    continue
                hook = Hook.OUTPUT if source.is_host else Hook.PREROUTING
                packet = Packet(TCP, source.towards(destination), 40000 + number, destination, port, hook)
                mine, _ = here.path.walk(packet, number / len(targets), 0)
                table = there.path.decide(packet, number / len(targets), 0)
                assert (mine.verdict, mine.destination, mine.destination_port, mine.masquerade, mine.rules) == (
                    table.verdict, table.destination, table.destination_port, table.masquerade, table.rules
                ), (format_address(destination), port)
                assert is_ipv6(mine.destination) == is_ipv6(destination)
                verdicts.add(mine.verdict)
    assert Verdict.DNAT in verdicts
    assert Verdict.NO_MATCH in verdicts


def test_a_change_of_one_family_is_synced_by_that_familys_loop_alone():
    seen = see({"at": "2s", "kill": "deployment/web[1]"}, text=DUAL, run__duration="6s", **IPV4_FIRST)
    by_family = {
        family: seen.times(Happening.PROXY_SYNCED, "worker-1", 2.0, family=family, kind="partial") for family in ("IPv4", "IPv6")
    }
    assert all(by_family.values())
    assert not seen.times(Happening.PROXY_SYNCED, "worker-1", 2.0, family=None)
    alone = see({"at": "2s", "kill": "deployment/web[1]"}, run__duration="6s", **IPV4_FIRST)
    assert alone.times(Happening.PROXY_SYNCED, "worker-1", 2.0, family="IPv4", kind="partial")
    assert not alone.times(Happening.PROXY_SYNCED, "worker-1", 2.0, family="IPv6", kind="partial")


def test_both_proxiers_write_one_ipvs_table_and_leave_each_others_virtual_servers_alone():
    restarted = {"at": "1s", "stopProxy": "node/*", "for": "3s"}
    world = build(small(restarted, mode="ipvs/rr", text=NODE_PORT, **IPV4_FIRST))
    world.advance(40 * S)
    ipv4, ipv6 = world.node("worker-1").proxy.proxiers
    assert ipv4.table is ipv6.table
    for proxier in (ipv4, ipv6):
        proxier.make_all(world.clock.now)
    served = {is_ipv6(service.address) for service in ipv4.table.services.values()}
    assert served == {False, True}


# ---- UDP flows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_flows_of_a_dead_pod_are_forgotten_in_their_own_family(mode, family):
    seen = see({"at": "3s", "delete": "deployment/web[1]"}, mode=mode, text=DUAL_UDP, run__duration="8s",
               workloads__0__family=family, workloads__0__timeout="500ms", workloads__0__connections="keepalive",
               workloads__0__arrivals={"constant": "60/s"}, **IPV4_FIRST)
    assert seen.failed(4.1) == 0  # it serves while it terminates; then its endpoint goes, and kube-proxy syncs again
    assert len(seen.answered(4.1)) >= 2


def test_a_sync_of_one_family_leaves_flows_of_the_other_alone():
    text = DUAL_UDP.replace("    spec:\n      ipFamily", "    spec:\n      type: NodePort\n      ipFamily", 1)
    world = build(small(
        text=text, run__duration="8s", workloads__0__family="IPv6", workloads__0__from="outside/user",
        workloads__0__to="nodePort+udp://web.default:80", **IPV4_FIRST, **USER,
    ))
    world.advance(2 * S)
    [source] = world.clients.workloads[0].sources
    node = world.network.fabric.homes[source.target]
    flows = [entry for entry in node.conntrack.live() if split_flow_key(entry.key)[3] == source.target]
    assert flows
    ipv4, ipv6 = world.node(node.name).proxy.proxiers
    [(name, info)] = ipv6.tracker.services.get("default/web").items()
    gone = Changes(services=("default/web",), deleted_udp_services=(info,), stale_udp_endpoints=((name, "[::]:1"),))
    ipv6.tracker.on_service_deleted("default/web")
    ipv6.tracker.checkout()
    ipv4.tracker.on_service_deleted("default/web")
    ipv4.tracker.checkout()
    assert stale_entries(flows, ipv4.tracker, gone) == []
    assert stale_entries(flows, ipv6.tracker, gone) == flows


# ---- faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_cluster_of_ipv6_fails_over_as_one_of_ipv4_does(mode):
    outages = []
    for cluster in ({}, IPV6):
        seen = see({"at": "3s", "kill": "deployment/web[1]"}, mode=mode, run__duration="10s", **cluster)
        [pod] = seen.pods_of_fault()
        synced = seen.synced_after(3.0)
        assert seen.failed(synced + 0.2) == 0
        assert seen.answered(3.01, synced).get(pod, 0) == 0
        outages.append(seen.result.faults[0].outage_ns)
    assert outages[1] == pytest.approx(outages[0], rel=0.25, abs=0.1 * S)


@pytest.mark.parametrize("segment", ["l2", "l3"])
def test_a_dead_node_answers_neither_family(segment):
    for family in ("IPv4", "IPv6"):
        seen = see({"at": "2s", "down": "node/worker-2"}, text=DUAL, run__duration="8s", workloads__0__timeout="5s",
                   workloads__0__family=family, cluster__network__segment=segment, **IPV4_FIRST)
        ended = set(seen.outcomes(2.0, 3.0)) - {Outcome.OK, Outcome.CLIENT_GONE}
        assert ended <= ({Outcome.NO_ROUTE, Outcome.CONNECT_TIMEOUT} if segment == "l2" else {Outcome.CONNECT_TIMEOUT})
        assert ended


def test_a_node_that_comes_back_serves_both_families_again():
    for mode in KERNEL_MODES:
        for family in ("IPv4", "IPv6"):
            seen = see({"at": "2s", "down": "node/worker-2", "for": "5s"}, mode=mode, text=DUAL, run__duration="60s",
                       workloads__0__family=family, workloads__0__arrivals={"constant": "20/s"}, **IPV4_FIRST,
                       kubernetes__timings={"nodeBoot": "1s"})
            assert seen.failed(50.0) == 0
            assert set(seen.outcomes(50.0)) == {Outcome.OK}


# ---- laws ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
def test_the_same_seed_gives_the_same_bytes(mode):
    made = [see({"at": "1s", "kill": "deployment/web[0]"}, mode=mode, text=DUAL, run__duration="3s", **IPV6_FIRST, **BY_NAME)
            for _ in range(2)]
    assert made[0].result.fingerprint == made[1].result.fingerprint


def test_a_second_family_changes_nothing_for_traffic_of_the_first():
    alone = see(mode="iptables", run__duration="4s").result.requests
    both = see(mode="iptables", run__duration="4s", **IPV4_FIRST).result.requests
    assert alone.latency_ns.tolist() == both.latency_ns.tolist()
    assert alone.endpoint.tolist() == both.endpoint.tolist()


def test_a_resolved_scenario_has_its_networks_written_out():
    scenario = small(**IPV6_FIRST)
    assert resolved_data(scenario)["kubernetes"]["serviceCIDR"] == "fd00:10:96::/112,10.96.0.0/12"
    network = resolved_data(scenario)["cluster"]["network"]
    assert (network["podCIDR"], network["nodeCIDR"]) == (
        "fd00:10:244::/56,10.244.0.0/16", "fd00:192:168::/64,192.168.0.0/16"
    )
    again = svcsim.loads(resolved_yaml(scenario))
    assert resolved_yaml(again) == resolved_yaml(scenario)
    assert Seen(svcsim.run_one(again)).result.fingerprint == see(**IPV6_FIRST).result.fingerprint


# ---- the shipped scenario ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_both_families_of_the_shipped_service_fail_over_together(mode):
    scenario = svcsim.load(FOLDER / "dual-stack.yaml", {"compare": {}, "kubernetes.proxy": mode})
    seen = Seen(svcsim.run_one(scenario))
    crash_s = 20.0
    synced = {
        family: [seen.first(Happening.PROXY_SYNCED, f"worker-{i}", crash_s, family=family, kind="partial") for i in (1, 2, 3)]
        for family in ("IPv4", "IPv6")
    }
    for ipv4, ipv6 in zip(synced["IPv4"], synced["IPv6"], strict=True):
        assert abs(ipv4 - ipv6) < 0.01
    last = max(max(times) for times in synced.values())
    for workload in ("by-name", "ipv4", "ipv6", "users-ipv6"):
        assert seen.failed(0.0, crash_s - 0.1, workload) == 0
        assert seen.failed(last, workload=workload) == 0
        assert seen.failed(crash_s - 0.1, last, workload) > 0
        assert len(seen.answered(0.0, crash_s, workload)) == 3
    [fault] = seen.result.faults
    assert fault.last_synced_ns == pytest.approx(last * S, abs=1000)  # of each node the later of its two families
    assert fault.synced_nodes == fault.nodes == 3
