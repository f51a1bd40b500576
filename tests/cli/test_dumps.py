"""`svcsim rules --check`: what was read of a node's dump, and what becomes of packets in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import svcsim
from svcsim.cli.main import run
from svcsim.linux.address import parse_address
from svcsim.linux.dump import read
from svcsim.linux.dump_walk import Host, hook_of, own_addresses, walk_packet
from svcsim.linux.flow_text import format_packet, parse_packet
from svcsim.linux.packet import TCP, Hook, Packet, Verdict
from svcsim.report.node_rules import rules_of
from tests.world.small import KERNEL_MODES, small
from tests.world.test_services import NODE_PORT

DUMPS = Path(__file__).parents[2] / "docs" / "dumps"
DOCKER = DUMPS / "docker-node.txt"
HOSTILE = "203.0.113.9"


def check(*files, packets=(), local=(), **more):
    """The JSON of a check."""
    words = ["rules", "--check", "--json", *map(str, files)]
    for option, values in (("--packet", packets), ("--local", local), *((f"--{name}", [value]) for name, value in more.items())):
        for value in values:
            words += [option, value]
    return words


def outcomes(capsys, *files, **more):
    assert run(check(*files, **more)) == 0
    return json.loads(capsys.readouterr().out)["packets"]


def shares(packet):
    """Destination and probability of a packet whose outcome is decided."""
    assert packet["decided"]
    [possible] = packet["possibilities"]
    return {each["destination"]: each["probability"] for each in possible["outcomes"]}


def verdicts(packet):
    return [[outcome["verdict"] for outcome in possible["outcomes"]] for possible in packet["possibilities"]]


def test_services_of_a_foreign_node_are_found_with_their_endpoints(capsys):
    assert run(check(DOCKER)) == 0
    found = json.loads(capsys.readouterr().out)
    dns, cart = found["services"]
    assert (dns["name"], dns["address"], dns["protocol"]) == ("kube-system/kube-dns:dns", "10.96.0.10:53", "udp")
    assert dns["endpoints"] == ["10.244.0.2:53", "10.244.1.3:53"]
    assert cart["name"] == "shop/cart:http"
    assert cart["refused"]


def test_what_is_not_understood_is_told_with_its_place(capsys):
    assert run(check(DOCKER)) == 0
    found = json.loads(capsys.readouterr().out)["notUnderstood"]
    lines = DOCKER.read_text().splitlines()
    assert [each["text"].split()[1] for each in found] == ["NOTRACK", "hashlimit", "bpf", "NFQUEUE", "limit"]
    assert all(lines[each["line"] - 1][each["column"] - 1 :].startswith(each["text"]) for each in found)


def test_a_packet_that_meets_nothing_unknown_is_decided(capsys):
    [pods, own] = outcomes(
        capsys, DOCKER, packets=["10.244.0.7>10.96.0.10:53/udp", "192.168.0.10>10.96.0.10:53/udp"], local=["192.168.0.10"]
    )
    assert shares(pods) == {"10.244.0.2:53": 0.5, "10.244.1.3:53": 0.5}
    assert not any(each["masquerade"] for each in pods["possibilities"][0]["outcomes"])
    assert own["hook"] == "output"
    assert all(each["masquerade"] for each in own["possibilities"][0]["outcomes"])


def test_a_packet_that_meets_an_unknown_match_depends_on_it(capsys):
    [packet] = outcomes(capsys, DOCKER, packets=[f"{HOSTILE}>10.244.0.7:80"])
    assert not packet["decided"]
    assert sorted(verdicts(packet)) == [["drop"], ["no_match"]]
    assert all("hashlimit" in each["assumed"][0]["what"] for each in packet["possibilities"])


def test_nothing_is_said_after_an_unknown_target(capsys):
    [packet] = outcomes(capsys, DOCKER, packets=["198.18.0.1>10.96.0.10:53/udp"])
    assert verdicts(packet) == [["not known"]]
    assert "NOTRACK" in packet["possibilities"][0]["outcomes"][0]["why"]


def test_interfaces_are_asked_for_or_given(capsys):
    flow = ["8.8.8.8>192.168.0.10:8080"]
    [asked] = outcomes(capsys, DOCKER, packets=flow, local=["192.168.0.10"])
    assert len(asked["possibilities"]) == 3
    [given] = outcomes(capsys, DOCKER, packets=flow, local=["192.168.0.10"], **{"in": "eth0", "out": "docker0"})
    assert shares(given) == {"172.17.0.2:80": 1.0}


def test_a_policy_that_drops_is_named(capsys):
    [packet] = outcomes(capsys, DOCKER, packets=["8.8.8.8>9.9.9.9:1"], **{"in": "eth0", "out": "eth1"})
    assert packet["possibilities"][0]["outcomes"][0]["why"] == "filter FORWARD: the policy of the chain"


def dump_of(mode, at_ns=0, scenario=None):
    world = svcsim.world.build(scenario or small(mode=mode, **NODE_PORT))
    if at_ns:
        world.advance(at_ns)
    host = next(host for host in world.network.fabric.hosts if host.name == "worker-1")
    parts = rules_of(world, "worker-1").parts
    return world, host, read([(name, text.encode()) for name, text in parts.items()])


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_a_dump_of_a_simulated_node_decides_as_the_node_does(mode):
    world, host, dump = dump_of(mode)
    assert not dump.not_understood
    node = Host(frozenset({host.address}), from_dump=own_addresses(dump))
    from svcsim.kube.api.service import Service

    spec = world.store.get(Service, "default/web").spec
    vip = parse_address(spec.cluster_ip)
    pods = [each.namespace.address for each in world.containers.running.values()]
    flows = [(source, vip, port) for source in (*pods, host.address) for port in (80, 81)]
    flows += [(parse_address("198.51.100.7"), host.address, port) for port in (spec.ports[0].node_port, 9)]
    flows += [(pods[0], pods[1], 8080)]
    for source, destination, port in flows:
        packet = Packet(TCP, source, 40000, destination, port, hook_of(source, node))
        walk = walk_packet(dump, packet, node)
        assert walk.possibilities.decided
        told = {
            (outcome.verdict, outcome.destination, outcome.port, outcome.masquerade)
            for outcome, _ in walk.possibilities.branches[0].distribution
        }
        seen = set()
        for draw in range(30):
            decision = host.path.decide(packet._replace(source_port=40000 + draw), (draw + 0.5) / 30, 0)
            refused = decision.verdict in (Verdict.REJECT, Verdict.DROP)
            seen.add((decision.verdict, decision.destination, decision.destination_port,
                      decision.masquerade and not refused))
        assert told == seen, format_packet(packet)
        assert sum(share.probability for share in walk.possibilities.branches[0].shares) == pytest.approx(1)


def test_endpoints_share_a_service_equally_in_every_mode():
    for mode in KERNEL_MODES:
        world, _, dump = dump_of(mode)
        from svcsim.kube.api.service import Service

        vip = parse_address(world.store.get(Service, "default/web").spec.cluster_ip)
        walk = walk_packet(dump, Packet(TCP, parse_address("10.244.9.9"), 40000, vip, 80), Host(from_dump=own_addresses(dump)))
        found = [share.probability for share in walk.possibilities.branches[0].shares]
        assert found == [pytest.approx(1 / 3, abs=1e-9)] * 3


def test_weights_share_and_schedulers_that_look_at_more_do_not(tmp_path, capsys):
    file = tmp_path / "ipvs.txt"
    for scheduler, expected in (("wrr", [0.75, 0.25]), ("rr", [0.5, 0.5]), ("lc", [None, None])):
        file.write_text(
            f"-A -t 10.96.0.1:443 -s {scheduler}\n-a -t 10.96.0.1:443 -r 10.0.0.1:6443 -m -w 3\n"
            "-a -t 10.96.0.1:443 -r 10.0.0.2:6443 -m -w 1\n-a -t 10.96.0.1:443 -r 10.0.0.3:6443 -m -w 0\n"
        )
        [packet] = outcomes(capsys, file, packets=["10.0.0.9>10.96.0.1:443"])
        assert [each["probability"] for each in packet["possibilities"][0]["outcomes"]] == expected
    assert run(["rules", "--check", str(file), "--packet", "10.0.0.9>10.96.0.1:443"]) == 0
    assert "the scheduler lc chooses by more than chance" in capsys.readouterr().out


def test_clients_that_an_nftables_dump_remembers_stay_with_their_endpoint(capsys):
    listing = (Path(__file__).parents[1] / "linux/nftables/data/affinity.list-ruleset.txt").read_text()
    name = next(line.split()[1] for line in listing.splitlines() if line.startswith("\tset affinity-"))
    block = listing[listing.index(f"\tset {name} ") :]
    filled = block.replace("\t\ttimeout 3h\n", "\t\ttimeout 3h\n\t\telements = { 10.200.9.9 expires 2h59m }\n", 1)
    dump = read([("x", listing.replace(block, filled).encode())])
    beta = parse_address("10.96.0.11")
    chosen = {}
    for client in ("10.200.9.9", "10.200.9.8"):
        walk = walk_packet(dump, Packet(TCP, parse_address(client), 40000, beta, 443), Host())
        chosen[client] = len(walk.possibilities.branches[0].shares)
    assert chosen == {"10.200.9.9": 1, "10.200.9.8": 3}


def test_text_says_what_was_read_and_fits_the_width(capsys):
    words = ["rules", "--check", str(DOCKER), "--packet", f"{HOSTILE}>10.244.0.7:80", "--packet", "10.244.0.7>10.96.0.10:53/udp"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert "5 parts of rules not understood" in out
    assert "depends on what svcsim can't know" in out
    assert "  50 %  to 10.244.0.2:53" in out
    assert "taken as not the node's own: 203.0.113.9" in out
    long_names = {str(DOCKER)}
    assert all(len(line) <= 100 for line in out.splitlines() if not any(name in line for name in long_names))


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("10.0.0.5:40000>10.96.0.10:53/udp", "10.0.0.5:40000>10.96.0.10:53/udp"),
        ("10.0.0.5 -> 10.96.0.10:80", "10.0.0.5:40000>10.96.0.10:80/tcp"),
        ("[fd00::1]:4000>[fd00::2]:80/SCTP", "[fd00::1]:4000>[fd00::2]:80/sctp"),
    ],
)
def test_a_packet_is_written_as_source_and_destination(text, packet):
    assert format_packet(parse_packet(text)) == packet
    assert parse_packet(packet).hook is Hook.PREROUTING


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.5", "a packet is written"),
        ("10.0.0.5>10.0.0.6", "the destination has a port"),
        ("10.0.0.5>10.0.0.6:80/icmp", "tcp, udp or sctp"),
        ("10.0.0.5>web:80", "is no address"),
        ("10.0.0.5:0>10.0.0.6:80", "from 1 to 65535"),
        ("10.0.0.5>10.0.0.6:99999", "from 1 to 65535"),
        ("fd00::1>[fd00::2]:80", "in brackets"),
        ("10.0.0.5>[fd00::2]:80", "of one family"),
    ],
)
def test_a_mistake_in_a_packet_is_a_message(capsys, text, message):
    assert run(["rules", "--check", str(DOCKER), "--packet", text]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ":1:1: there are no rules in it"),
        ("nonsense\n", ":1:1: not a line of iptables-save"),
        ("*nat\nnonsense\n", ":2:1: not a line of iptables-restore"),
        ("*nat\n:A - [0:0]\n", "COMMIT is missing"),
        ("*nat\n:A - [0:0]\n-A A -j A\nCOMMIT\n", "chain A of table nat leads back to itself"),
        ("*nat\n-A A -d\nCOMMIT\n", ":2:1: the rule ends early"),
        ("table ip x {\n\tchain a {\n", "a '}' is missing"),
        ("table ip x {\n\tchain a {\n\t\tjump b\n\t}\n}\n", ":3:1: there is no chain b in table x"),
        ("add X 10.0.0.1\n", "has not been created before"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.2:80\n", "has not been added before"),
        ("-A -t nowhere:80\n", ":1:1:"),
        ('{"nftables": []}\n', "JSON is not read"),
    ],
)
def test_what_is_no_dump_is_told_with_its_place(tmp_path, capsys, content, message):
    file = tmp_path / "dump.txt"
    file.write_text(content)
    assert run(["rules", "--check", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(str(file))
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check"], "name the files"),
        (["--check", "nowhere.txt"], "can't read nowhere.txt"),
        (["--check", str(DOCKER), "--node", "worker-1"], "--node is for a scenario"),
        (["--check", str(DOCKER), "--local", "here"], "--local takes an address"),
        (["--check", str(DOCKER), "--packet", "[fd00::1]>[fd00::2]:80"], "no rules for IPv6"),
        ([str(DOCKER), "--packet", "10.0.0.1>10.0.0.2:80"], "go with --check"),
        ([], "one scenario is wanted"),
    ],
)
def test_calls_that_make_no_sense_are_messages(capsys, arguments, message):
    assert run(["rules", *arguments]) == 2
    assert message in capsys.readouterr().err
