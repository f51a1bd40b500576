"""A packet's way as text and as plain values."""

from __future__ import annotations

import json

from svcsim.linux.address import parse_address
from svcsim.linux.packet import TCP, Decision, Hook, Packet, Step, Verdict
from svcsim.report.packet_way import Charge, NodeLeg, PacketWay, as_json, render, return_legs
from svcsim.report.terminal import Ink, visible

CLIENT, VIP, POD, NODE = (parse_address(text) for text in ("203.0.113.7", "10.96.0.10", "10.0.1.5", "192.168.0.1"))


def leg(verdict: Verdict = Verdict.DNAT, *, masqueraded: bool = True, misses: int = 0) -> NodeLeg:
    packet = Packet(TCP, CLIENT, 40000, VIP, 80)
    goes_on = verdict is Verdict.DNAT
    steps = [Step("nat", "PREROUTING", "-j KUBE-SERVICES", True, "-j KUBE-SERVICES")]
    steps += [Step("nat", "KUBE-SERVICES", f"-d 10.96.1.{index}/32 -j X", False) for index in range(misses)]
    steps.append(Step("nat", "KUBE-SERVICES", "-d 10.96.0.10/32 -j KUBE-SVC-A", True, "jump KUBE-SVC-A"))
    decision = Decision(
        verdict, POD if goes_on else VIP, 8080 if goes_on else 80, masqueraded and goes_on, misses + 1, 0, len(steps)
    )
    costs = tuple(10.0 for _ in steps)
    after = (NODE, 61000) if decision.masquerade else None
    return NodeLeg("worker-1", packet, decision, tuple(steps), costs, (Charge("conntrack: new entry", 700),), after)


def far_leg(before: NodeLeg) -> NodeLeg:
    source, source_port, destination, port = before.leaves
    packet = Packet(TCP, source, source_port, destination, port)
    return NodeLeg("worker-2", packet, Decision(Verdict.NO_MATCH, destination, port))


def way(**options: object) -> PacketWay:
    near = leg(**options)  # type: ignore[arg-type]
    forth = (near, far_leg(near))
    return PacketWay("client asks web", forth, return_legs(forth, [(), (Charge("conntrack: look-up", 90),)]))


def test_the_answer_takes_the_nodes_in_reverse_and_conntrack_undoes_what_each_did() -> None:
    back = way().back
    assert [hop.node for hop in back] == ["worker-2", "worker-1"]
    assert back[0].before == back[0].after == back[1].before == (POD, 8080, NODE, 61000)
    assert back[1].after == (VIP, 80, CLIENT, 40000)


def test_nothing_answers_a_packet_that_was_refused_or_dropped() -> None:
    for verdict in (Verdict.REJECT, Verdict.DROP):
        assert return_legs([leg(verdict)]) == ()
        assert "the answer" not in render(PacketWay("x", (leg(verdict),)))


def test_costs_add_up_over_rules_charges_and_both_directions() -> None:
    here = way(misses=3)
    assert here.forth[0].ns == 5 * 10 + 700
    assert here.ns == 750 + 90
    assert as_json(here)["ns"] == 840
    assert render(here).splitlines()[-1].split() == ["forth", "and", "back", "840", "ns"]


def test_long_runs_of_rules_that_do_not_match_are_told_in_one_line_with_their_cost() -> None:
    text = render(way(misses=5000))
    assert "- 5,000 rules, none of which matches" in text
    assert "10.96.1.17/32" not in text
    folded = next(line for line in text.splitlines() if "none of which" in line)
    assert folded.endswith(" 50 µs")
    assert "10.96.1.17/32" in render(way(misses=5000), all_rules=True)
    assert "10.96.1.2/32" in render(way(misses=3))


def test_lines_fit_the_width_and_costs_stand_in_one_column() -> None:
    long = "ip saddr @affinity-" + "x" * 150 + " goto endpoint"
    ipv6 = parse_address("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff")
    packet = Packet(TCP, ipv6, 40000, ipv6, 80, Hook.OUTPUT)
    step = Step("t", "c" * 120, long, True, "e" * 130)
    wide = NodeLeg("n" * 20, packet, Decision(Verdict.DNAT, ipv6, 80, rules=1), (step,), (5.0,))
    lines = render(PacketWay("t", (wide,))).splitlines() + render(way(misses=3)).splitlines()
    assert max(map(len, lines)) <= 100
    assert {len(line) for line in lines if line.endswith(" ns")} == {100}


def test_text_is_plain_without_a_terminal_and_the_same_words_with_one() -> None:
    plain = render(way())
    assert "\x1b" not in plain
    coloured = render(way(), Ink(on=True))
    assert "\x1b" in coloured
    assert visible(coloured) == plain


def test_effects_that_the_rule_says_already_are_not_said_twice() -> None:
    text = render(way())
    assert "-> -j KUBE-SERVICES" not in text
    assert "-> jump KUBE-SVC-A" in text


def test_verdicts_are_told_in_words() -> None:
    assert "= rewritten to 10.0.1.5:8080, masqueraded as 192.168.0.1:61000" in render(way())
    assert "= refused with ICMP port unreachable" in render(PacketWay("x", (leg(Verdict.REJECT),)))
    assert "= dropped silently" in render(PacketWay("x", (leg(Verdict.DROP),)))
    assert "= no Service's: goes on as it is" in render(way())


def test_plain_values_survive_json_and_name_every_step() -> None:
    value = as_json(way())
    assert json.loads(json.dumps(value)) == value
    first = value["forth"][0]
    assert first["before"] == {"source": "203.0.113.7:40000", "destination": "10.96.0.10:80"}
    assert first["after"] == {"source": "192.168.0.1:61000", "destination": "10.0.1.5:8080"}
    assert (first["verdict"], first["masquerade"], first["rules"], first["serviceRules"]) == ("dnat", True, 2, 1)
    assert first["steps"][1] == {
        "table": "nat",
        "chain": "KUBE-SERVICES",
        "rule": "-d 10.96.0.10/32 -j KUBE-SVC-A",
        "matched": True,
        "effect": "jump KUBE-SVC-A",
        "ns": 10,
    }
    assert as_json(PacketWay("x", (far_leg(leg()),)))["forth"][0]["steps"] == []
