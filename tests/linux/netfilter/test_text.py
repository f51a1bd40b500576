from __future__ import annotations

from pathlib import Path

import pytest

from svcsim.linux.netfilter.rules import Rule, Table
from svcsim.linux.netfilter.text import parse, parse_rule, render, render_rule

TEXTS = Path(__file__).parent / "texts"


def lines(text: str) -> list[str]:
    return sorted(line for line in text.splitlines() if line.startswith("-A"))


def regardless_of_order(table: Table) -> dict[str, list[tuple[frozenset[object], object]]]:
    def value(rule: Rule) -> tuple[frozenset[object], object]:
        return frozenset(rule.matches), rule.target

    return {chain: [value(rule) for rule in rules] for chain, rules in table.chains.items() if rules}


def test_what_kube_proxy_writes_comes_back_word_for_word() -> None:
    text = (TEXTS / "affinity.restore-input.txt").read_text()
    assert lines(render(parse(text))) == lines(text)


def test_what_the_kernel_saved_means_what_was_given_to_it() -> None:
    given = parse((TEXTS / "affinity.restore-input.txt").read_text())
    saved = parse((TEXTS / "affinity.iptables-save.txt").read_text())
    for name in ("filter", "nat"):
        assert regardless_of_order(saved[name]) == regardless_of_order(given[name])


@pytest.mark.parametrize(
    "text",
    [
        '-m comment --comment "a b" -m tcp -p tcp -d 10.0.0.1 --dport 80 ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ',
        "-m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KUBE-NODEPORTS",
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
        "-m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT",
        "-m set ! --match-set KUBE-CLUSTER-IP dst,dst -g KUBE-X",
        "-m recent --name KUBE-SEP-X --rcheck --seconds 10800 --reap -j KUBE-SEP-X",
        "-m statistic --mode random --probability 0.3333333333 -j KUBE-SEP-X",
        "-m tcp -p tcp -j DNAT --to-destination [fd00::1]:80",
        "-m udp -p udp --dport 53 -j REDIRECT --to-ports 40000",
        "-j MASQUERADE --random-fully",
        "-j MARK --xor-mark 0x4000",
        "-m comment --comment lonely",
        "! -i eth0 -j REJECT",
    ],
)
def test_each_kind_of_rule_reads_back(text: str) -> None:
    assert render_rule(parse_rule(text)) == text


@pytest.mark.parametrize("share", ["50", "1.01", "-0.5", "nan", "inf", "half"])
def test_a_probability_lies_between_nothing_and_all(share: str) -> None:
    with pytest.raises(ValueError, match=rf"does not know --probability( {share})? in a rule"):
        parse_rule(f"-m statistic --mode random --probability {share} -j KUBE-SEP-X")


@pytest.mark.parametrize("text", ["-m hashlimit --hashlimit 5/s", "--tcp-option 5", "-d", "-j TPROXY --on-port 1"])
def test_what_is_not_known_is_an_error_not_a_guess(text: str) -> None:
    with pytest.raises(ValueError, match=r"svcsim does not know|ends early"):
        parse_rule(text)


def test_a_line_outside_the_format_is_named() -> None:
    with pytest.raises(ValueError, match="not a line of iptables-restore: nonsense"):
        parse("*nat\nnonsense\n")
