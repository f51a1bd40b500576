"""How nftables evaluates: order of hooks, verdicts, and what rules see of a packet."""

from __future__ import annotations

from svcsim.linux.address import format_endpoint, parse_address
from svcsim.linux.nftables import text
from svcsim.linux.nftables.walk import RulesetView, walk
from svcsim.linux.packet import TCP, UDP, Decision, Hook, Packet, Step, Verdict

NODE = parse_address("192.168.0.1")


def packet(source: str = "10.0.0.9", destination: str = "10.96.0.1", port: int = 80, hook: Hook = Hook.PREROUTING) -> Packet:
    return Packet(TCP, parse_address(source), 40000, parse_address(destination), port, hook)


def go(lines: str, given: Packet, uniform: float = 0.0) -> tuple[Decision, list[Step]]:
    ruleset = text.parse("add table ip t\n" + "\n".join(f"add {line.strip()}" for line in lines.strip().splitlines()))
    return walk(RulesetView(ruleset), {NODE}, given, uniform, 0)


def order(steps: list[Step]) -> list[str]:
    return [step.chain for step in steps]


HOOKS = "\n".join(
    f"chain ip t {hook}{number} {{ type filter hook {hook} priority {priority} ; }}\n"
    f"rule ip t {hook}{number} ct state new jump leaf"
    for hook in ("prerouting", "input", "forward", "output", "postrouting")
    for number, priority in ((1, 50), (2, -50))
)


def test_hooks_run_in_the_kernel_s_order_and_chains_by_priority() -> None:
    rules = "chain ip t leaf\n" + HOOKS
    assert order(go(rules, packet())[1]) == [
        "prerouting2", "prerouting1", "forward2", "forward1", "postrouting2", "postrouting1",
    ]  # fmt: skip
    assert order(go(rules, packet(destination="192.168.0.1"))[1]) == ["prerouting2", "prerouting1", "input2", "input1"]
    out = ["output2", "output1", "postrouting2", "postrouting1"]
    assert order(go(rules, packet(hook=Hook.OUTPUT))[1]) == out
    to_itself = packet(destination="192.168.0.1", hook=Hook.OUTPUT)
    assert order(go(rules, to_itself)[1]) == [*out, "prerouting2", "prerouting1", "input2", "input1"]


PRE = "chain ip t pre { type filter hook prerouting priority 0 ; }\nchain ip t a\nchain ip t b\n"


def test_jump_comes_back_and_goto_does_not() -> None:
    tail = "rule ip t a ct state new jump b\nrule ip t a ip saddr 1.1.1.1 drop\nrule ip t b ct state new return"
    assert order(go(PRE + "rule ip t pre jump a\nrule ip t pre drop\n" + tail, packet())[1]) == ["pre", "a", "b", "a", "pre"]
    assert order(go(PRE + "rule ip t pre goto a\nrule ip t pre drop\n" + tail, packet())[1]) == ["pre", "a", "b", "a"]
    gone = tail.replace("jump b", "goto b")
    decision, steps = go(PRE + "rule ip t pre jump a\nrule ip t pre drop\n" + gone, packet())
    assert order(steps) == ["pre", "a", "b", "pre"]
    assert decision.verdict is Verdict.DROP


def test_drop_ends_everything_and_reject_answers() -> None:
    later = "chain ip t later { type filter hook prerouting priority 10 ; }\nrule ip t later jump a\n"
    decision, steps = go(PRE + later + "rule ip t pre drop", packet())
    assert (decision.verdict, len(steps)) == (Verdict.DROP, 1)
    assert go(PRE + later + "rule ip t pre reject", packet())[0].verdict is Verdict.REJECT
    assert go(PRE + later + "rule ip t pre return\nrule ip t pre drop", packet())[0].verdict is Verdict.NO_MATCH


NAT = """chain ip t nat-pre { type nat hook prerouting priority -100 ; }
chain ip t fwd { type filter hook forward priority 0 ; }
chain ip t post { type nat hook postrouting priority 100 ; }
"""


def test_rules_after_translation_see_the_new_destination() -> None:
    rules = NAT + "rule ip t nat-pre meta l4proto tcp dnat to 10.0.0.1:8080\nrule ip t nat-pre drop\n"
    decision, steps = go(rules + "rule ip t fwd ip daddr 10.96.0.1 drop\nrule ip t fwd tcp dport 80 drop", packet())
    assert decision.verdict is Verdict.DNAT
    assert format_endpoint(decision.destination, decision.destination_port) == "10.0.0.1:8080"
    assert [step.matched for step in steps] == [True, False, False]
    assert go(rules + "rule ip t fwd ip daddr 10.0.0.1 reject", packet())[0].verdict is Verdict.REJECT


def test_translation_to_the_node_itself_is_delivered_not_forwarded() -> None:
    decision, steps = go(NAT + "rule ip t nat-pre dnat to 192.168.0.1:80\nrule ip t fwd drop", packet())
    assert (decision.verdict, order(steps)) == (Verdict.DNAT, ["nat-pre"])


def test_what_comes_back_by_loopback_is_not_translated_again() -> None:
    """Counters of a real kernel (Linux 6.18): prerouting and input see it as new, nat chains do not see it."""
    rules = NAT + "chain ip t in { type filter hook input priority 0 ; }\nrule ip t in ct state new drop\n"
    decision, steps = go(rules + "rule ip t nat-pre dnat to 10.0.0.1:80", packet(destination="192.168.0.1", hook=Hook.OUTPUT))
    assert (decision.verdict, order(steps)) == (Verdict.DROP, ["in"])


def test_a_mark_decides_on_masquerade() -> None:
    rules = NAT + "chain ip t mark\nrule ip t mark mark set mark or 0x4000\nchain ip t masq\nrule ip t post jump masq\n"
    rules += "rule ip t masq mark and 0x4000 == 0 return\nrule ip t masq mark set mark xor 0x4000\n"
    rules += "rule ip t masq masquerade fully-random\nrule ip t nat-pre ip saddr 10.0.0.9 jump mark\n"
    rules += "rule ip t nat-pre meta l4proto tcp dnat to 10.0.0.1:8080"
    marked, way = go(rules, packet())
    assert marked.masquerade
    assert [step.effect for step in way[-2:]] == ["mark 0x0", "masquerade"]
    assert not go(rules, packet(source="10.0.0.8"))[0].masquerade


def test_random_choice_has_equal_parts() -> None:
    rules = NAT + "chain ip t e0\nchain ip t e1\nchain ip t e2\n"
    rules += "".join(f"rule ip t e{index} dnat to 10.0.0.{index}:80\n" for index in range(3))
    rules += "rule ip t nat-pre numgen random mod 3 vmap { 0 : goto e0 , 1 : goto e1 , 2 : goto e2 }"
    chosen = [go(rules, packet(), uniform)[0].destination & 255 for uniform in (0.0, 0.333, 0.334, 0.666, 0.667, 0.999)]
    assert chosen == [0, 0, 1, 1, 2, 2]


def test_a_verdict_map_is_asked_with_address_protocol_and_port() -> None:
    rules = NAT + "map ip t m { type ipv4_addr . inet_proto . inet_service : verdict ; }\n"
    rules += "rule ip t nat-pre ip daddr . meta l4proto . th dport vmap @m\nelement ip t m { 10.96.0.1 . tcp . 80 : drop }"
    assert go(rules, packet())[0].verdict is Verdict.DROP
    assert go(rules, packet(port=81))[0].verdict is Verdict.NO_MATCH
    assert go(rules, packet()._replace(protocol=UDP))[0].verdict is Verdict.NO_MATCH
    decision, (step,) = go(rules, packet(destination="10.96.0.2"))
    assert (decision.verdict, step.matched, step.effect) == (Verdict.NO_MATCH, False, "no element")


def test_a_dynamic_set_remembers_for_its_time_out() -> None:
    lines = """add table ip t
add set ip t seen { type ipv4_addr ; flags dynamic,timeout ; timeout 10s ; }
add chain ip t pre { type filter hook prerouting priority 0 ; }
add rule ip t pre ip saddr @seen drop
add rule ip t pre update @seen { ip saddr }"""
    view = RulesetView(text.parse(lines))

    def fate(now_s: int, source: str = "10.0.0.9") -> Verdict:
        return walk(view, (), packet(source=source), 0.0, now_s * 1_000_000_000)[0].verdict

    assert fate(0) is Verdict.NO_MATCH
    assert fate(9) is Verdict.DROP
    assert fate(9, "10.0.0.8") is Verdict.NO_MATCH
    assert fate(10) is Verdict.NO_MATCH
    assert fate(19) is Verdict.DROP


def test_local_addresses_are_told_by_the_routing_table() -> None:
    rules = PRE + "rule ip t pre fib saddr type local drop\nrule ip t pre fib daddr type local reject"
    assert go(rules, packet(source="192.168.0.1"))[0].verdict is Verdict.DROP
    assert go(rules, packet(destination="192.168.0.1"))[0].verdict is Verdict.REJECT
    assert go(rules, packet())[0].verdict is Verdict.NO_MATCH
