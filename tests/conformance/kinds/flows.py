"""flows: what a packet meets on a node, by the packet-flow tests of kube-proxy's modes.

The set of endpoints that a flow can reach is gathered over many draws, each after all session affinity has expired. Every draw is
taken both ways, by the walk of the rules and by the compiled table, which must agree.
"""

from __future__ import annotations

from typing import Any

from svcsim.kubeproxy.iptables_table import IptablesTable
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.linux.address import format_endpoint, parse_address
from svcsim.linux.netfilter.text import render_rule
from svcsim.linux.packet import PROTOCOL_NUMBER, FirstPacketPath, Hook, Packet, Step, Verdict
from tests.conformance.kinds._flow_paths import PATHS
from tests.conformance.kinds._proxy import Objects, settings_of

KIND = "flows"
DRAWS = 240
LONGER_THAN_AFFINITY_NS = 90_000 * 1_000_000_000
VERDICTS = {Verdict.NO_MATCH: "NOMATCH", Verdict.DNAT: "DNAT", Verdict.REJECT: "REJECT", Verdict.DROP: "DROP"}


def _packet(flow: dict[str, Any], settings: ProxySettings) -> Packet:
    source = parse_address(flow["sourceIP"])
    own = settings.is_local_address(source) and flow["sourceKind"] in ("node", "localhost")
    return Packet(
        PROTOCOL_NUMBER[flow["protocol"].upper()],
        source,
        40000,
        parse_address(flow["destIP"]),
        flow["destPort"],
        Hook.OUTPUT if own else Hook.PREROUTING,
    )


def _is_accepted(steps: list[Step]) -> bool:
    return any(step.matched and step.effect.lower().startswith("accept") and step.chain != "KUBE-FORWARD" for step in steps)


def _check(path: FirstPacketPath, flow: dict[str, Any], settings: ProxySettings, clock: list[int]) -> None:
    packet = _packet(flow, settings)
    verdicts, endpoints, masquerades = set(), set(), set()
    for draw in range(DRAWS):
        uniform = (draw + 0.5) / DRAWS
        clock[0] += LONGER_THAN_AFFINITY_NS
        walked, steps = path.walk(packet, uniform, clock[0])
        clock[0] += LONGER_THAN_AFFINITY_NS
        decided = path.decide(packet, uniform, clock[0])
        assert decided == walked, f"{flow['name']}: the table says {decided}, the walk {walked}"
        verdict = VERDICTS[walked.verdict]
        if verdict == "NOMATCH" and _is_accepted(steps):
            verdict = "ACCEPT"
        verdicts.add(verdict)
        if verdict == "DNAT":
            endpoints.add(format_endpoint(walked.destination, walked.destination_port))
            masquerades.add(walked.masquerade)
    assert verdicts == {flow["verdict"]}, f"{flow['name']}: {sorted(verdicts)}, not {flow['verdict']}"
    assert endpoints == set(flow["endpoints"]), f"{flow['name']}: {sorted(endpoints)}, not {flow['endpoints']}"
    if endpoints:
        assert masquerades == {flow["masq"]}, f"{flow['name']}: masquerade {sorted(masquerades)}"


def _check_dispatch(path: FirstPacketPath, expected: dict[str, Any]) -> None:
    packet = Packet(
        PROTOCOL_NUMBER[expected["protocol"].upper()], parse_address("203.0.113.7"), 40000,
        parse_address(expected["destIP"]), expected["destPort"],
    )
    decision = path.decide(packet, 0.5, 0)
    found = decision.verdict != Verdict.NO_MATCH
    assert found == expected["ruleExists"], f"a rule for {expected['destIP']}: {found}"


def _check_firewall(path: FirstPacketPath, expected: list[str]) -> None:
    assert isinstance(path, IptablesTable), "only iptables rules have a chain KUBE-FIREWALL"
    rules = path.ruleset()["filter"].chains["KUBE-FIREWALL"]
    lines = [f"-A KUBE-FIREWALL {render_rule(rule)}" for rule in rules]
    assert lines == expected, f"KUBE-FIREWALL: {lines}"


def run(vector: dict) -> None:
    """Apply each step's changes, sync, and send the step's flows."""
    mode = vector["mode"]
    assert mode in PATHS, f"no packet path for mode {mode}"
    settings = settings_of(vector["proxier"])
    objects = Objects(settings)
    sync = PATHS[mode](settings, objects.tracker)
    clock = [0]
    for step in vector["steps"]:
        objects.apply(step.get("apply") or [])
        objects.delete(step.get("delete") or [])
        path = sync()
        for flow in step.get("flows") or []:
            _check(path, flow, settings, clock)
        if step.get("expectDispatch"):
            _check_dispatch(path, step["expectDispatch"])
        if step.get("expectKubeFirewallRules") is not None:
            _check_firewall(path, step["expectKubeFirewallRules"])
