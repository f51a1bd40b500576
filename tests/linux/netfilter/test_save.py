"""The text of iptables-save: reading what was written gives the same rules, and writing what was read the same text."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from svcsim.linux.netfilter.reading import parse, parse_rule, read_rule
from svcsim.linux.netfilter.rules import (
    ConntrackState,
    Destination,
    Match,
    Rule,
    Source,
    Statistic,
    Table,
    UnknownMatch,
    UnknownTarget,
)
from svcsim.linux.netfilter.save import canonical, save, save_rule
from svcsim.linux.netfilter.text import render_rule
from tests.linux.netfilter.rule_strategies import rules, rules_for_filter, rulesets

SAVED = (Path(__file__).parent / "texts" / "affinity.iptables-save.txt").read_text()

def without_probability(match: Match) -> str:
    """kube-proxy writes ten digits of a probability, which comes near to what the kernel stores."""
    return "Statistic" if isinstance(match, Statistic) else repr(match)



def without_order(match: Match) -> str:
    return repr(sorted(match.states)) if isinstance(match, ConntrackState) else repr(match)


ALL = settings(max_examples=25, deadline=None)
FEW = settings(max_examples=6, deadline=None)


@ALL
@given(ipv6=st.booleans(), data=st.data())
def test_a_saved_rule_reads_back_as_it_was(ipv6: bool, data: st.DataObject) -> None:
    rule = data.draw(rules(ipv6))
    text = save_rule(rule, ipv6=ipv6)
    read = parse_rule(text)
    assert read == canonical(rule)
    assert save_rule(read, ipv6=ipv6) == text


@ALL
@given(rule=rules())
def test_the_canonical_order_is_one_and_loses_nothing(rule: Rule) -> None:
    assert canonical(canonical(rule)) == canonical(rule)
    left_out = [match for match in rule.matches if isinstance(match, Source | Destination) and not match.block.length]
    rest = [match for match in rule.matches if match not in left_out or match.negated]
    assert sorted(map(without_order, canonical(rule).matches)) == sorted(map(without_order, rest))


@FEW
@given(ipv6=st.booleans(), data=st.data())
def test_saved_tables_read_back_as_they_were(ipv6: bool, data: st.DataObject) -> None:
    ruleset = data.draw(rulesets(ipv6))
    text = save(ruleset, ipv6=ipv6)
    read = parse(text)
    for name, table in ruleset.items():
        for chain, chain_rules in table.chains.items():
            assert read[name].chains[chain] == tuple(map(canonical, chain_rules))
        assert table.policies.items() <= read[name].policies.items()
    assert save(read, ipv6=ipv6) == text
    assert parse(save(ruleset, ipv6=ipv6, counters=True)) == read


@ALL
@given(ipv6=st.booleans(), data=st.data())
def test_what_kube_proxy_would_write_reads_back_with_all_that_it_says(ipv6: bool, data: st.DataObject) -> None:
    rule = data.draw(rules(ipv6))
    read = parse_rule(render_rule(rule))
    assert sorted(map(without_probability, read.matches)) == sorted(map(without_probability, rule.matches))
    assert read.target == rule.target


def test_what_the_kernel_saved_is_written_again_word_for_word() -> None:
    lines = [line for line in SAVED.splitlines() if not line.startswith("#")]
    tables = parse(SAVED)
    for name in tables:
        start = lines.index(f"*{name}")
        assert save({name: tables[name]}).splitlines() == lines[start : lines.index("COMMIT", start) + 1]


@pytest.mark.parametrize("backend", ["legacy", "nft"])
@settings(max_examples=4, deadline=None, phases=[Phase.generate])
@given(given_rules=st.lists(rules_for_filter(), min_size=5, max_size=15))
def test_the_kernel_saves_the_rules_that_it_was_given(backend: str, given_rules: list[Rule]) -> None:
    tool = f"iptables-{backend}"
    if os.geteuid() != 0 or shutil.which(f"{tool}-restore") is None or shutil.which("unshare") is None:
        pytest.skip(f"needs root, unshare and {tool}-restore")
    text = save({"filter": Table({"KUBE-X": tuple(given_rules)})})
    words = ["unshare", "--net", "sh", "-ec", f"{tool}-restore; {tool}-save"]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assume("RULE_APPEND failed" not in done.stderr)  # the kernel takes no such combination
    assert done.returncode == 0, f"{done.stderr}\n{text}"
    saved = [line for line in done.stdout.splitlines() if line.startswith("-A KUBE-X")]
    assert saved == [f"-A KUBE-X {save_rule(rule)}".rstrip() for rule in given_rules]


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("-p tcp -m tcp --tcp-option 5 -j ACCEPT", ["--tcp-option 5"]),
        ("-m limit --limit 5/min ! -s 10.0.0.0/8 -j DROP", ["-m limit --limit 5/min ! -s 10.0.0.0/8"]),
        ("-m conntrack --ctorigdst 10.0.0.1 --ctstate NEW -j DROP", ["--ctorigdst 10.0.0.1"]),
        ("-m recent --update --seconds 60 --hitcount 4 --name ssh --rsource -j DROP", ["-m recent --update"]),
        ("-m statistic --mode nth --every 3 --packet 0 -j A", ["--mode nth", "--every 3", "--packet 0"]),
        ("-m owner --uid-owner 0 -m mark --mark 0x1 -j RETURN", ["-m owner --uid-owner 0"]),
        ("-s host.example -j DROP", ["-s host.example"]),
    ],
)
def test_what_is_not_known_stays_as_it_was_written(text: str, unknown: list[str]) -> None:
    found = [match.text for match in read_rule(text).matches if isinstance(match, UnknownMatch)]
    assert len(found) == len(unknown)
    assert all(one.startswith(wanted) for one, wanted in zip(found, unknown, strict=True))


@pytest.mark.parametrize(
    "text",
    ["TPROXY --on-port 1 --on-ip 0.0.0.0", "NFQUEUE --queue-num 0", "CT --notrack", "DNAT --to-destination 10.0.0.1-10.0.0.9"],
)
def test_a_target_that_is_not_known_stays_as_it_was_written(text: str) -> None:
    assert read_rule(f"-p tcp -j {text}").target == UnknownTarget(text)


def test_a_table_without_a_chain_of_its_own_has_the_built_in_ones() -> None:
    assert save({"raw": Table({})}) == "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
