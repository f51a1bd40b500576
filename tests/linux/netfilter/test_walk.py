from __future__ import annotations

import pytest

from svcsim.linux.address import format_address, parse_address
from svcsim.linux.netfilter.recent import RecentState
from svcsim.linux.netfilter.rules import Statistic
from svcsim.linux.netfilter.text import parse
from svcsim.linux.netfilter.walk import KernelState, walk
from svcsim.linux.packet import TCP, Decision, Hook, Packet, Step, Verdict

NODE = parse_address("192.168.0.2")


def send(rules: str, destination: str, *, hook: Hook = Hook.PREROUTING, uniform: float = 0.0) -> tuple[Decision, list[Step]]:
    kernel = KernelState(lambda address: address == NODE, RecentState(), frozenset({("nat", "LIST")}))
    packet = Packet(TCP, parse_address("10.0.0.9"), 40000, parse_address(destination), 80, hook)
    return walk(parse(rules), kernel, packet, uniform, 0)


def chains(steps: list[Step]) -> list[str]:
    return [f"{step.table} {step.chain}" for step in steps]


EVERYWHERE = """*nat
:PREROUTING ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
-A PREROUTING -m comment --comment seen
-A OUTPUT -m comment --comment seen
-A POSTROUTING -m comment --comment seen
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
-A INPUT -m comment --comment seen
-A FORWARD -m comment --comment seen
-A OUTPUT -m comment --comment seen
"""


@pytest.mark.parametrize(
    ("hook", "destination", "way"),
    [
        (Hook.PREROUTING, "10.0.0.1", ["nat PREROUTING", "filter FORWARD", "nat POSTROUTING"]),
        (Hook.PREROUTING, "192.168.0.2", ["nat PREROUTING", "filter INPUT"]),
        (Hook.OUTPUT, "10.0.0.1", ["nat OUTPUT", "filter OUTPUT", "nat POSTROUTING"]),
        (Hook.OUTPUT, "192.168.0.2", ["nat OUTPUT", "filter OUTPUT", "nat POSTROUTING", "filter INPUT"]),
    ],
)
def test_hooks_follow_the_routing_decision(hook: Hook, destination: str, way: list[str]) -> None:
    decision, steps = send(EVERYWHERE, destination, hook=hook)
    assert chains(steps) == way
    assert (decision.verdict, decision.rules) == (Verdict.NO_MATCH, len(way))


def test_routing_comes_after_the_rewrite() -> None:
    rules = EVERYWHERE.replace(
        "-A PREROUTING -m comment --comment seen",
        "-A PREROUTING -m tcp -p tcp -d 10.0.0.1 --dport 80 -j DNAT --to-destination 192.168.0.2:8080",
    )
    decision, steps = send(rules, "10.0.0.1")
    assert decision.verdict == Verdict.DNAT
    assert (format_address(decision.destination), decision.destination_port) == ("192.168.0.2", 8080)
    assert chains(steps)[-1] == "filter INPUT"


JUMPS = """*nat
:PREROUTING ACCEPT
:LIST -
:SUB -
:LAST -
-A PREROUTING -j LIST
-A PREROUTING -j MARK --or-mark 0x1
-A LIST -d 10.0.0.7 -j RETURN
-A LIST -d 10.0.0.8 -g SUB
-A LIST -d 10.0.0.9 -j SUB
-A LIST -j LAST
-A SUB -m comment --comment "nothing here"
-A LAST -j ACCEPT
"""


@pytest.mark.parametrize(
    ("destination", "way", "in_list"),
    [
        ("10.0.0.1", ["PREROUTING", "LIST", "LIST", "LIST", "LIST", "LAST"], 4),
        ("10.0.0.7", ["PREROUTING", "LIST", "PREROUTING"], 1),
        ("10.0.0.8", ["PREROUTING", "LIST", "LIST", "SUB", "PREROUTING"], 2),
        ("10.0.0.9", ["PREROUTING", "LIST", "LIST", "LIST", "SUB", "LIST", "LAST"], 4),
    ],
)
def test_jump_comes_back_goto_and_return_do_not(destination: str, way: list[str], in_list: int) -> None:
    decision, steps = send(JUMPS, destination)
    assert [step.chain for step in steps] == way
    assert decision.service_rules == in_list


def test_a_chain_with_policy_drop_drops_what_no_rule_accepts() -> None:
    rules = EVERYWHERE.replace(":FORWARD ACCEPT", ":FORWARD DROP")
    assert send(rules, "10.0.0.1")[0].verdict == Verdict.DROP
    assert send(rules + "-A FORWARD -j ACCEPT\n", "10.0.0.1")[0].verdict == Verdict.NO_MATCH


def test_one_uniform_number_makes_an_even_choice_over_a_chain_of_statistic_rules() -> None:
    rules = "*nat\n:PREROUTING ACCEPT\n" + "".join(
        f"-A PREROUTING {chance}-j DNAT --to-destination 10.1.0.{index}:80\n"
        for index, chance in enumerate(
            [f"-m statistic --mode random --probability {1 / left:.10f} " for left in (5, 4, 3, 2)] + [""]
        )
    )
    chosen = [send(rules, "10.0.0.1", uniform=(draw + 0.5) / 100)[0] for draw in range(100)]
    assert [format_address(decision.destination) for decision in chosen] == [f"10.1.0.{draw // 20}" for draw in range(100)]
    assert [chosen[draw].statistic_rules for draw in (0, 20, 40, 60, 80)] == [1, 2, 3, 4, 4]


def test_probabilities_are_those_that_the_kernel_stores() -> None:
    assert Statistic(0.3333333333).stored == 715827883
    assert f"{Statistic(0.3333333333).effective:.11f}" == "0.33333333349"
