"""Texts of nftables tables: read what kube-proxy and nft wrote, write the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from svcsim.kube.api.service import ServicePort
from svcsim.kubeproxy.change_tracker import Catalogue, ChangeTracker
from svcsim.kubeproxy.nftables_library import ProgrammeLibrary
from svcsim.kubeproxy.nftables_proxier import NftablesProxier
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import Prefix, parse_address
from svcsim.linux.nftables import listing, text
from svcsim.linux.nftables.rule_text import RuleTextError, parse_rule, rule_text
from svcsim.linux.nftables.ruleset import AddressMatch, DnatStatement, MapVerdict, Rule, Verdict
from tests.kubeproxy.objects import piece, service

DATA = Path(__file__).parent / "data"
INPUT = (DATA / "affinity.input.txt").read_text()
LISTING = (DATA / "affinity.list-ruleset.txt").read_text()


def test_the_input_is_read_and_written_line_by_line() -> None:
    ruleset = text.parse(INPUT)
    assert sorted(text.lines(ruleset)) == sorted(INPUT.splitlines())
    assert text.parse(text.render(ruleset)) == ruleset


def test_the_listing_is_read_and_written_byte_by_byte() -> None:
    assert listing.render(listing.parse(LISTING)) == LISTING


def test_input_and_listing_are_the_same_table() -> None:
    assert listing.parse(LISTING) == text.parse(INPUT)


def test_the_proxier_writes_the_recorded_table() -> None:
    address = parse_address("192.168.50.1")
    set_up = ProxySettings(
        mode="nftables",
        node_name="n0",
        node_ip=address,
        local_ips=(address,),
        local_detector="ByCIDR",
        cluster_cidr=Prefix.parse("10.192.0.0/10"),
        service_cidrs=(Prefix.parse("10.96.0.0/12"),),
    )
    tracker = ChangeTracker(Catalogue(), "n0")
    for number, (name, port, spec) in enumerate(
        (("alpha", 80, {}), ("beta", 443, {"session_affinity": "ClientIP"}), ("gamma", 8080, {}), ("delta", 80, {}))
    ):
        made = service(name, f"10.96.0.{10 + number}", ServicePort(name=f"p{port}", port=port), **spec)
        made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"namespace": "default"})})
        tracker.on_service(made)
        if name != "delta":
            ready = piece(name, *(f"10.200.{number + 1}.{pod}" for pod in (1, 2, 3)), port_name=f"p{port}")
            tracker.on_slice(ready.model_copy(update={"metadata": ready.metadata.model_copy(update={"namespace": "default"})}))
    node = NftablesProxier(set_up, tracker, ProgrammeLibrary(), matches_port_again=True)
    node.sync(0)
    written = node.table.text().replace(' comment "default/delta:p80"', "")
    assert sorted(written.splitlines()) == sorted(INPUT.splitlines())


@pytest.mark.parametrize(
    ("priority", "hook", "name"),
    [
        (-110, "prerouting", "dstnat - 10"),
        (-100, "prerouting", "dstnat"),
        (-110, "output", "-110"),
        (0, "forward", "filter"),
        (5, "input", "filter + 5"),
        (100, "postrouting", "srcnat"),
        (100, "input", "100"),
        (-300, "output", "raw"),
    ],
)
def test_priorities_have_names_where_the_hook_has_them(priority: int, hook: str, name: str) -> None:
    assert listing.priority_text(priority, hook) == name  # type: ignore[arg-type]
    assert listing.parse_priority(name) == priority


@pytest.mark.parametrize(("seconds", "words"), [(10800, "3h"), (5400, "1h30m"), (86400, "1d"), (61, "1m1s"), (1, "1s")])
def test_times_are_in_days_hours_minutes_and_seconds(seconds: int, words: str) -> None:
    assert listing.time_text(seconds) == words
    assert listing.parse_time(words) == seconds


@pytest.mark.parametrize(
    "line",
    [
        "fib saddr type local goto service-X-a/b/tcp/c comment \"short-circuit local traffic\"",
        "ip6 saddr != { fd00:10::/64 , 2001:db8::1 } drop",
        "meta l4proto sctp dnat to [fd00:10:180::1]:80",
        "fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports",
        "ip6 daddr != ::1 meta l4proto . th dport vmap @no-endpoint-nodeports",
        "update @affinity-X-a/b/tcp/c__fd00..1/80 { ip6 saddr }",
    ],
)
def test_rules_read_back_as_they_were(line: str) -> None:
    assert rule_text(parse_rule(line), "ip6" if "ip6" in line else "ip") == line


def test_a_rule_becomes_the_expressions_that_it_names() -> None:
    assert parse_rule("ip daddr 10.0.0.1 ip saddr != 10.0.0.0/8 jump mark") == Rule(
        (
            AddressMatch("daddr", (Prefix.parse("10.0.0.1"),)),
            AddressMatch("saddr", (Prefix.parse("10.0.0.0/8"),), negated=True),
            Verdict("jump", "mark"),
        )
    )
    assert parse_rule("ip daddr . meta l4proto . th dport vmap @m") == Rule((MapVerdict(("daddr", "l4proto", "dport"), "m"),))
    assert parse_rule("dnat to 10.0.0.1:80") == Rule((DnatStatement(parse_address("10.0.0.1"), 80),))


@pytest.mark.parametrize(
    "line",
    [
        "counter packets 0 bytes 0",
        "ip ttl 5 drop",
        "numgen random mod 2 vmap { 0 : goto a }",
        "ip daddr . th dport",
        "meta mark & 0x4 == 0x4 return",
        "goto",
    ],
)
def test_rules_of_others_are_refused(line: str) -> None:
    with pytest.raises(RuleTextError):
        parse_rule(line)


@pytest.mark.parametrize("content", ["", "add table inet x", "delete table ip x", "table ip x {\n"])
def test_texts_without_a_table_are_refused(content: str) -> None:
    with pytest.raises(RuleTextError):
        text.parse(content)
    with pytest.raises(RuleTextError):
        listing.parse(content)


def test_live_elements_of_dynamic_sets_are_no_part_of_the_table() -> None:
    block = "\t\ttimeout 3h\n"
    live = block + "\t\telements = { 10.1.1.1 expires 2h59m, 10.1.1.2 expires 1h }\n"
    assert listing.parse(LISTING.replace(block, live, 1)) == text.parse(INPUT)
