"""Any `nft list ruleset`: kube-proxy's tables read as the strict reader has them, others as far as they are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.linux.nftables import dump, listing
from svcsim.linux.nftables.rule_text import rule_text
from svcsim.linux.nftables.ruleset import UnknownExpression, UnknownStatement
from svcsim.linux.nftables.words import read_rule
from tests.fuzz.seeds import FOREIGN_NFT
from tests.kubeproxy.nftables_clusters import PLANS, proxy_settings, services, slices

LISTING = (Path(__file__).parent / "data" / "affinity.list-ruleset.txt").read_text()


def test_kube_proxys_table_reads_as_the_strict_reader_has_it() -> None:
    [table] = dump.parse(LISTING)
    assert table.ruleset() == listing.parse(LISTING)
    assert all(rule.understood for chain in table.chains.values() for rule in chain.rules)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_listed_table_reads_back_as_it_was(data: st.DataObject) -> None:
    plan = PLANS[data.draw(st.sampled_from(("IPv4", "IPv6")))]
    tracker = ChangeTracker(Catalogue(plan.family), "n0")
    for index in range(data.draw(st.integers(0, 2))):
        service = data.draw(services(plan, index))
        tracker.on_service(service)
        tracker.on_slice(data.draw(slices(plan, index, service)))
    proxier = NftablesProxier(data.draw(proxy_settings(plan)), tracker, ProgrammeLibrary())
    proxier.sync(0)
    ruleset = proxier.table.ruleset()
    text = listing.render(ruleset)
    assert listing.parse(text) == ruleset
    [table] = dump.parse(text)
    assert table.ruleset() == ruleset
    assert listing.render(table.ruleset()) == text


@pytest.mark.parametrize(
    "line",
    [
        "ip saddr != 10.0.0.0/8 tcp dport { 22, 8000-8080 } drop",
        'iifname "lo" accept',
        'oifname != { "docker0", "cni*" } masquerade',
        "meta mark & 0x00004000 == 0x00004000 accept",
        "meta mark 0x00000001 return",
        "meta mark set 0x00000002",
        "ct state != established,related drop",
        "meta l4proto { icmp, 6 } accept",
        "udp sport 53 accept",
        "th dport 53 accept",
        "ip daddr != @blocked return",
        "dnat to 10.0.0.1",
        "snat to 10.0.0.1:5000",
        "redirect to :8080",
        "meta random & 2147483647 < 715827883 drop",
    ],
)
def test_what_others_write_reads_back_as_it_was(line: str) -> None:
    rule = read_rule(line, "ip")
    assert rule.understood
    again = rule_text(rule, "ip", "listing")
    assert read_rule(again, "ip") == rule
    assert again == line.replace("{ icmp, 6 }", "{ icmp, tcp }") or "icmp" in line


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("ip ttl 5 drop", "ip ttl 5"),
        ("limit rate 5/minute burst 3 packets accept", "limit rate 5/minute burst 3 packets"),
        ("tcp flags syn / fin,syn,rst,ack counter packets 0 bytes 0 drop", "tcp flags syn / fin,syn,rst,ack"),
        ("tcp dport vmap { 80 : jump a }", "tcp dport vmap { 80 : jump a }"),
        ("queue num 0", "queue num 0"),
        ("ct mark set meta mark", "ct mark"),
        ('xt target "TPROXY"', 'xt target "TPROXY"'),
    ],
)
def test_what_is_not_known_stays_as_it_was_written(line: str, unknown: str) -> None:
    found = [each.text for each in read_rule(line, "ip").expressions if isinstance(each, UnknownExpression | UnknownStatement)]
    assert found
    assert found[0].startswith(unknown)


def test_a_foreign_table_is_read_with_its_policy_and_its_intervals() -> None:
    [table] = dump.parse(FOREIGN_NFT)
    chain = table.chains["input"]
    assert chain.base is not None
    assert (chain.base.priority, chain.base.policy) == (-1, "drop")
    assert [rule.understood for rule in chain.rules] == [True, True, True, False, False]
    assert len(table.blocks["blocked"]) > 2
    assert table.element("blocked", (0x0A010203,)) is not None
    assert table.element("blocked", (0x0B010203,)) is None


def test_tables_that_routed_packets_do_not_pass_are_left_out() -> None:
    assert dump.parse("table bridge x {\n\tchain y {\n\t}\n}\n") == []


def test_a_table_that_sleeps_decides_nothing() -> None:
    [table] = dump.parse(FOREIGN_NFT.replace("{\n", "{\n\tflags dormant\n", 1))
    assert table.dormant
    assert table.at_hook("input") == []
