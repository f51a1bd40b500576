"""Kind `rules-ipvs`: virtual servers, ipsets, rules and addresses that kube-proxy's IPVS mode makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from svcsim.kubeproxy import ipvs_sets
from svcsim.kubeproxy.ipvs_proxier import IpvsLibrary, IpvsProxier
from svcsim.kubeproxy.ipvs_sets import IpsetEntry
from svcsim.linux.address import format_address, format_endpoint
from svcsim.linux.ipvs import IpvsSysctls, IpvsTable
from svcsim.linux.netfilter.rules import Comment, Protocol, Rule, SetMatch, Source
from svcsim.linux.netfilter.text import render_rule, target_text
from svcsim.linux.packet import PROTOCOL_NAME
from svcsim.units import S
from tests.conformance.kinds._proxy import Objects, settings_of

KIND = "rules-ipvs"

FLAG_OF_MH = "source-hash"


def _virtual_servers(proxier: IpvsProxier) -> list[dict[str, Any]]:
    found = []
    for service in proxier.table.services.values():
        flags = ["persistent"] if service.persistence_ns else []
        if service.flags:
            flags.append(FLAG_OF_MH)
        servers = sorted(service.servers, key=lambda one: format_endpoint(one.address, one.port))
        found.append({
            "address": format_address(service.address),
            "port": service.port,
            "protocol": PROTOCOL_NAME[service.protocol],
            "scheduler": service.scheduler_name,
            "flags": flags,
            "timeout": service.persistence_ns // S,
            "realServers": [
                {"address": format_address(one.address), "port": one.port, "weight": one.weight} for one in servers
            ],
        })
    return found


def _check_virtual_server(expected: dict[str, Any], found: list[dict[str, Any]]) -> None:
    name = f"{expected['protocol']} {expected['address']}:{expected['port']}"
    matching = [
        one for one in found if all(one[field] == expected[field] for field in ("address", "port", "protocol"))
    ]
    assert len(matching) == 1, f"no virtual server {name}: there are {found}"
    for field, value in expected.items():
        if field == "flags":
            value = [flag for flag in value if flag != "hashed"]
        if field == "realServers":
            value = sorted(value, key=lambda one: f"{one['address']}:{one['port']}")
        assert matching[0][field] == value, f"{name}: {field}: expected {value}, got {matching[0][field]}"


def _entry(entry: IpsetEntry, set_type: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"setType": set_type}
    if entry.address is not None:
        fields["ip"] = format_address(entry.address)
    if entry.port is not None:
        fields |= {"port": entry.port, "protocol": PROTOCOL_NAME[entry.protocol].lower()}
    if entry.address2 is not None:
        fields["ip2"] = format_address(entry.address2)
    if entry.net is not None:
        fields["net"] = str(entry.net)
    return fields


def _rule(rule: Rule) -> dict[str, str]:
    sets = [match.name for match in rule.matches if isinstance(match, SetMatch)]
    sources = [str(match.block) for match in rule.matches if isinstance(match, Source) and not match.negated]
    plain = tuple(match for match in rule.matches if not isinstance(match, SetMatch | Source | Comment | Protocol))
    return {
        "jump": target_text(rule.target),
        "matchSet": sets[0] if sets else "",
        "source": sources[0] if sources else "",
        "args": render_rule(Rule(plain)),
    }


def _chain(proxier: IpvsProxier, name: str) -> list[dict[str, str]]:
    """The rules of a chain, of the nat table and then of the filter table."""
    rules = proxier.rules()
    return [_rule(rule) for table in ("nat", "filter") for rule in rules[table].chains.get(name, ()) if rule.target]


def _check_rules(where: str, expected: Iterable[dict[str, str]], got: list[dict[str, str]]) -> None:
    expected = list(expected)
    jumps = [(rule["jump"], rule["matchSet"]) for rule in expected]
    assert [(rule["jump"].split()[0], rule["matchSet"]) for rule in got] == jumps, f"{where}: expected {expected}, got {got}"
    for one, other in zip(expected, got, strict=True):
        for field in ("source", "args"):
            if field in one:
                assert other[field] == one[field], f"{where}: expected {one}, got {other}"


def _check(proxier: IpvsProxier, step: dict[str, Any]) -> None:
    found = _virtual_servers(proxier)
    for expected in step.get("virtualServers") or ():
        _check_virtual_server(expected, found)
    if "virtualServerCount" in step:
        names = [f"{one['address']}:{one['port']}" for one in found]
        assert len(found) == step["virtualServerCount"], f"{step['virtualServerCount']} virtual servers expected: {names}"
    for address, servers in (step.get("realServersOf") or {}).items():
        got = [
            [f"{one['address']}:{one['port']}" for one in server["realServers"]]
            for server in found
            if server["address"] == address
        ]
        assert got == [sorted(servers)], f"real servers of {address}: expected {servers}, got {got}"
    for field, value in (step.get("allVirtualServers") or {}).items():
        for server in found:
            assert server[field] == value, f"{server}: {field} should be {value}"
    ipsets = proxier.ipsets()
    types = {ipset.name: ipset.type for ipset in ipvs_sets.IPSETS}
    for name, entries in (step.get("ipsets") or {}).items():
        got_entries = [_entry(entry, types[name.replace("KUBE-6-", "KUBE-")]) for entry in ipsets[name]]
        assert sorted(map(str, got_entries)) == sorted(str(_ordered(one)) for one in entries), f"{name}: {got_entries}"
    for name, texts in (step.get("ipsetEntries") or {}).items():
        assert sorted(map(str, ipsets[name])) == sorted(texts), f"{name}: expected {texts}, got {ipsets[name]}"
    for name, rules in (step.get("iptablesChains") or {}).items():
        _check_rules(name, rules, _chain(proxier, name))
    for name, rule in (step.get("firstRuleOf") or {}).items():
        _check_rules(name, [rule], _chain(proxier, name)[:1])


def _ordered(entry: dict[str, Any]) -> dict[str, Any]:
    return {field: entry[field] for field in ("setType", "ip", "port", "protocol", "ip2", "net") if field in entry}


def run(vector: dict[str, Any]) -> None:
    settings = settings_of(vector["proxier"])
    objects = Objects(settings)
    proxier = IpvsProxier(settings, objects.tracker, IpvsLibrary(), IpvsTable(IpvsSysctls.of_kube_proxy()))
    for number, step in enumerate(vector["steps"]):
        objects.delete(step.get("delete") or [])
        objects.apply(step.get("apply") or [])
        now_ns = number * S
        proxier.sync(now_ns)
        proxier.make_all(now_ns)
        _check(proxier, step)
