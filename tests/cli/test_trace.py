"""`svcsim trace`: a packet's way in every mode, each step with its cost, and what is wrong where it ends."""

import json

import pytest

import svcsim
import svcsim.world
from svcsim.cli.main import run
from svcsim.linux.flow_text import format_packet
from svcsim.linux.packet import TCP, UDP, Hook, Packet, Verdict
from svcsim.report.node_rules import rules_of
from svcsim.report.packet_way import as_json, render
from svcsim.report.tracing import trace, trace_flow
from tests.world.small import ALL_MODES, KERNEL_MODES, SMALL, small
from tests.world.test_services import DATABASE, NODE_PORT
from tests.world.test_services import UDP as UDP_TEXT

PROCESS = ("kube-proxy",)


def way(source="deployment/client[0]", destination="web:80", mode="iptables", at_ns=0, uniform=0.0, protocol=TCP, scenario=None):
    world = svcsim.world.build(scenario or small(mode=mode, services={"count": 20}))
    if at_ns:
        world.advance(at_ns)
    return world, trace(world, source, destination, protocol=protocol, uniform=uniform)


def costs_sum(world, found):
    """Each node's steps and charges, what the proxy's process does left out, are the cost of its first packet."""
    hosts = {host.name: host for host in world.network.fabric.hosts}
    for leg in found.forth:
        kernel = sum(charge.ns for charge in leg.charges if not charge.name.startswith(PROCESS))
        expected = hosts[leg.node].charges.first_packet_ns(leg.decision, leg.packet.protocol)
        assert sum(leg.step_ns) + kernel == pytest.approx(expected, abs=1), leg.node
        assert all(cost >= 0 for cost in leg.step_ns), leg.node
        assert all(charge.ns > 0 for charge in leg.charges), leg.node
        assert len(leg.step_ns) == len(leg.steps)
        if leg.decision.rules:
            assert len(leg.steps) >= leg.decision.rules


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("uniform", [0.0, 0.5, 0.99])
def test_a_cluster_ip_leads_to_an_endpoint_and_back(mode, uniform):
    world, found = way(mode=mode, uniform=uniform)
    costs_sum(world, found)
    assert found.ending == ""
    assert found.forth[0].node == "worker-1"
    assert found.forth[0].decision.verdict is Verdict.DNAT
    pods = {running.namespace.address for key, running in world.containers.running.items() if "/web-" in key}
    last = found.forth[-1]
    assert last.leaves[2] in pods
    assert len(found.back) == len(found.forth)
    assert found.back[-1].after[:2] == (found.forth[0].packet.destination, 80)
    assert found.back[-1].after[2:] == (found.forth[0].packet.source, found.forth[0].packet.source_port)


def test_the_choice_is_the_random_number_that_runs_use():
    endpoints = {way(uniform=uniform)[1].forth[-1].leaves[2] for uniform in (0.1, 0.5, 0.9)}
    assert len(endpoints) == 3


def test_on_another_node_the_packet_is_new_again_and_walks_the_whole_list():
    _, found = way(uniform=0.99)
    first, second = found.forth
    assert second.node != first.node
    assert second.decision.service_rules == 22  # 20, web and the jump to node ports
    assert 1 <= first.decision.service_rules <= 21


@pytest.mark.parametrize("mode", ALL_MODES)
def test_the_userspace_proxy_dials_and_other_modes_do_not(mode):
    _, found = way(mode=mode)
    dials = [leg for leg in found.forth if any(charge.name.startswith(PROCESS) for charge in leg.charges)]
    assert len(dials) == (mode == "userspace")


@pytest.mark.parametrize("mode", ALL_MODES)
def test_an_address_that_is_no_services_goes_on_as_it_is(mode):
    world, found = way(destination="10.244.1.2:8080", mode=mode)
    costs_sum(world, found)
    assert {leg.decision.verdict for leg in found.forth} == {Verdict.NO_MATCH}
    assert [leg.node for leg in found.forth] == ["worker-1", "worker-2"]
    assert found.ending == ""


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_port_without_a_listener_answers_with_a_rst(mode):
    _, found = way(destination="10.244.1.2:9999", mode=mode)
    assert "nothing listens" in found.ending
    assert "RST" in found.ending
    assert found.back


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_a_service_without_endpoints_is_refused_by_the_clients_own_node(mode):
    world, found = way(scenario=small({"at": "1s", "scale": "deployment/web", "replicas": 0}, mode=mode), at_ns=6_000_000_000)
    costs_sum(world, found)
    [leg] = found.forth
    assert leg.decision.verdict is Verdict.REJECT
    assert not found.back
    assert "refused" in render(found)


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_node_port_is_entered_from_outside_and_masqueraded(mode):
    scenario = small(mode=mode, **NODE_PORT)
    world = svcsim.world.build(scenario)
    from svcsim.kube.api.service import Service

    port = world.store.get(Service, "default/web").spec.ports[0].node_port
    for uniform in (0.1, 0.9):
        found = trace(world, "outside/laptop", f"192.168.0.10:{port}", uniform=uniform)
        costs_sum(world, found)
        assert found.forth[0].node == "worker-1"
        assert found.ending == ""
        if mode != "userspace":
            assert found.forth[0].decision.masquerade
            assert found.forth[0].leaves[0] == world.network.fabric.hosts[0].address
        assert found.back[-1].after[1] == port


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_datagram_takes_the_way_of_its_protocol(mode):
    world, found = way(scenario=small(mode=mode, text=UDP_TEXT), protocol=UDP)
    costs_sum(world, found)
    assert found.ending == ""
    assert found.forth[0].decision.verdict is Verdict.DNAT


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_way_out_of_the_cluster_has_one_node(mode):
    world, found = way("pod/load-client", "db:5432", scenario=small(mode=mode, text=DATABASE))
    costs_sum(world, found)
    assert len({leg.node for leg in found.forth}) == 1
    assert found.ending == ""


def test_from_a_process_of_a_node():
    for mode in ALL_MODES:
        world, found = way("node/worker-3", mode=mode)
        costs_sum(world, found)
        assert found.forth[0].node == "worker-3"
        assert "from a process of the node" in render(found)


def test_a_dead_endpoint_gets_no_answer_and_the_way_says_why():
    faults = [{"at": "1s", "down": "node/worker-3"}]
    _, found = way(scenario=small(*faults), at_ns=3_000_000_000, uniform=0.99)
    assert "worker-3 has no power" in found.ending
    assert not found.back
    assert "worker-3 has no power" in render(found)
    _, found = way(scenario=small({"at": "1s", "partition": "node/worker-3"}), at_ns=3_000_000_000, uniform=0.99)
    assert "cut off" in found.ending


def test_faults_before_the_instant_have_happened():
    faults = [{"at": "1s", "failReadiness": "deployment/web[2]"}]
    assert len(way(scenario=small(*faults), uniform=0.99)[1].forth) == 2
    _, later = way(scenario=small(*faults), uniform=0.99, at_ns=12_000_000_000)
    assert later.forth[-1].node == "worker-2"


def test_many_services_cost_what_the_run_charges_beyond_the_knee_too():
    world, found = way(scenario=small(services={"count": 6000}), uniform=0.99)
    costs_sum(world, found)


# ---- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL + "compare: {kubernetes.proxy: [userspace, iptables, ipvs/rr, nftables]}\n")
    return str(path)


def test_every_compared_mode_is_printed(file, capsys):
    assert run(["trace", file, "--from", "deployment/client", "--to", "web:80"]) == 0
    out = capsys.readouterr().out
    for mode in ALL_MODES:
        assert f"{mode}: default/client-" in out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_json_holds_the_same_and_its_steps_sum(file, capsys):
    assert run(["trace", file, "--from", "deployment/client", "--to", "web:80", "--mode", "iptables", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    for leg in found["forth"]:
        total = sum(step["ns"] for step in leg["steps"]) + sum(charge["ns"] for charge in leg["charges"])
        assert total == pytest.approx(leg["ns"], abs=len(leg["steps"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "deployment/clint", "--to", "web:80"], "--from"),
        (["--from", "deployment/client[9]", "--to", "web:80"], "--from"),
        (["--from", "client", "--to", "web:80"], "--from"),
        (["--from", "node/worker-9", "--to", "web:80"], "did you mean"),
        (["--from", "deployment/client", "--to", "webb:80"], "did you mean 'web'"),
        (["--from", "deployment/client", "--to", "web:81"], "it has 80/TCP"),
        (["--from", "deployment/client", "--to", "web:80", "--udp"], "it has 80/TCP"),
        (["--from", "deployment/client", "--to", "web"], "HOST:PORT"),
        (["--from", "deployment/client", "--to", "10.96.0.1:http"], "1 to 65535"),
        (["--from", "deployment/client", "--to", "10.96.0.1:0"], "1 to 65535"),
        (["--from", "deployment/client", "--to", "web:80", "--at", "soon"], "--at"),
        (["--from", "deployment/client", "--to", "web:80", "--at", "-5s"], "--at"),
        (["--from", "deployment/client", "--to", "web:80", "--mode", "ipvz"], "ipvz"),
    ],
)
def test_mistakes_are_messages(file, capsys, arguments, message):
    assert run(["trace", file, *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_dual_stack_service_is_traced_in_the_family_that_is_asked_for(mode):
    dual = "      ipFamilyPolicy: RequireDualStack\n      selector: {app: web}\n"
    text = SMALL.replace("      selector: {app: web}\n", dual, 1)
    world = svcsim.world.build(small(mode=mode, text=text, kubernetes__serviceCIDR="fd00:10:96::/112,10.96.0.0/12"))
    ipv6, ipv4 = (trace(world, "deployment/client[0]", "web:80", family=family) for family in (None, "IPv4"))
    assert ipv6.title.endswith("([fd00:10:244::3]:32768) to default/web:80")
    assert ipv4.title.endswith("(10.244.0.3:32768) to default/web:80")
    assert ipv6.forth[0].decision.verdict is Verdict.DNAT
    assert ipv4.forth[0].decision.verdict is (Verdict.NO_MATCH if mode == "userspace" else Verdict.DNAT)
    text = render(ipv6)
    assert "[fd00:10:96::" in text
    assert "10.96." not in text.replace("fd00:10:96", "")


def test_what_has_no_address_of_a_family_can_not_be_traced(capsys, tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    asked = ["trace", str(path), "--from", "deployment/client[0]", "--to"]
    assert run([*asked, "web:80", "--family", "IPv6"]) == 2
    assert "Service default/web has no cluster IP of IPv6 (it has 10." in capsys.readouterr().err
    assert run([*asked, "[fd00::1]:80"]) == 2
    assert "has no address of the family of fd00::1" in capsys.readouterr().err


# ---- any packet, and real nodes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_packet_takes_the_way_of_the_pod_that_sends_it(mode):
    _, found = way(mode=mode, uniform=0.5)
    sent = found.forth[0].packet
    again = trace_flow(svcsim.world.build(small(mode=mode, services={"count": 20})), sent, uniform=0.5)
    assert [leg.packet for leg in again.forth] == [leg.packet for leg in found.forth]
    assert again.ns == pytest.approx(found.ns)


def test_a_packet_of_the_nodes_own_address_is_sent_by_a_process():
    world = svcsim.world.build(small())
    host = world.network.fabric.hosts[0]
    found = trace_flow(world, Packet(TCP, host.address, 40000, world.network.fabric.hosts[1].address, 9, Hook.PREROUTING))
    assert found.forth[0].packet.hook is Hook.OUTPUT
    foreign = trace_flow(world, Packet(TCP, 0x08080808, 40000, host.address, 9, Hook.OUTPUT), "worker-2")
    assert foreign.forth[0].node == "worker-2"
    assert foreign.forth[0].packet.hook is Hook.PREROUTING


def test_conntrack_notes_what_came_and_what_an_answer_looks_like(file, capsys):
    assert run(["trace", file, "--from", "deployment/client", "--to", "web:80", "--mode", "iptables", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    leg = found["forth"][0]
    entry = leg["conntrack"]
    assert (entry["protocol"], entry["seconds"], entry["state"]) == ("tcp", 120, "SYN_SENT")
    assert entry["original"] == leg["before"]
    assert entry["reply"] == {"source": leg["after"]["destination"], "destination": leg["after"]["source"]}
    assert run(["trace", file, "--from", "deployment/client", "--to", "web:80", "--mode", "iptables"]) == 0
    assert "conntrack tcp 6 120 SYN_SENT src=" in capsys.readouterr().out


def test_a_refused_packet_leaves_no_entry():
    _, found = way(scenario=small({"at": "1s", "scale": "deployment/web", "replicas": 0}), at_ns=6_000_000_000)
    assert found.forth[0].entry is None
    assert as_json(found)["forth"][0]["conntrack"] is None


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_a_dump_of_a_node_gives_the_way_that_the_node_gives(mode, tmp_path, capsys):
    _, found = way(mode=mode)
    leg = found.forth[0]
    flow = format_packet(leg.packet)
    files = []
    for name, text in rules_of(svcsim.world.build(small(mode=mode, services={"count": 20})), "worker-1").parts.items():
        (tmp_path / name).write_text(text)
        files += ["--dump", str(tmp_path / name)]
    assert run(["trace", *files, "--packet", flow, "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)
    [there] = told["forth"]
    simulated = as_json(found)["forth"][0]
    assert [step["matched"] for step in there["steps"]] == [step["matched"] for step in simulated["steps"]]
    assert [step["chain"] for step in there["steps"]] == [step["chain"] for step in simulated["steps"]]
    same = ("verdict", "masquerade", "rules", "statisticRules", "before", "ns", "hook")
    if mode != "ipvs/rr":  # whose turn it is does not show in a dump
        assert {key: there[key] for key in (*same, "after", "conntrack")} == {
            key: simulated[key] for key in (*same, "after", "conntrack")
        }


DOCKER = "docs/dumps/docker-node.txt"


def test_a_dump_gives_a_way_for_each_thing_that_is_not_known(capsys):
    words = ["trace", "--dump", DOCKER, "--packet", "203.0.113.9>10.244.0.7:80", "--json"]
    assert run(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["forth"][0]["verdict"] for each in found] == ["no_match", "drop"]
    assert all("hashlimit" in each["title"] for each in found)


def test_what_follows_an_unknown_target_is_not_made_up(capsys):
    assert run(["trace", "--dump", DOCKER, "--packet", "198.18.0.1>10.96.0.10:53/udp"]) == 0
    out = capsys.readouterr().out
    assert "what becomes of it is not known: it comes to raw PREROUTING" in out
    assert "  = " not in out
    assert "conntrack" not in out


def test_the_masqueraded_source_is_told_where_the_nodes_address_is(capsys):
    words = ["trace", "--dump", DOCKER, "--packet", "192.0.2.7>10.96.0.10:53/udp"]
    assert run(words) == 0
    assert "dst=? sport=53" in capsys.readouterr().out
    assert run([*words, "--local", "192.168.0.10"]) == 0
    assert "masqueraded as 192.168.0.10:40000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--packet", "10.0.0.1"], "a packet is written"),
        (["--packet", "8.8.8.8>10.96.0.1:80", "--mode", "iptables"], "--node says where the packet comes in"),
        (["--packet", "8.8.8.8>10.96.0.1:80", "--node", "worker-9"], "there is no node 'worker-9'"),
        (["--packet", "8.8.8.8>10.96.0.1:80", "--from", "node/worker-1"], "a packet is wanted"),
        (["--packet", "8.8.8.8>10.96.0.1:80", "--udp"], "--packet says protocol"),
        (["--from", "deployment/client", "--to", "web:80", "--node", "worker-1"], "--node goes with --packet"),
        (["--from", "deployment/client"], "a packet is wanted"),
        (["--dump", DOCKER, "--packet", "10.0.0.1>10.0.0.2:80"], "one scenario is wanted"),
    ],
)
def test_calls_that_contradict_themselves_are_messages(file, capsys, arguments, message):
    assert run(["trace", file, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one scenario is wanted"),
        (["--dump", DOCKER], "a packet is wanted"),
        (["--dump", DOCKER, "--packet", "10.0.0.1>10.0.0.2:80", "--node", "x"], "--dump goes with"),
        (["--dump", "nowhere", "--packet", "10.0.0.1>10.0.0.2:80"], "can't read nowhere"),
    ],
)
def test_calls_with_dumps_that_make_no_sense_are_messages(capsys, arguments, message):
    assert run(["trace", *arguments]) == 2
    assert message in capsys.readouterr().err
