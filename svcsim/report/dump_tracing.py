"""One packet through a node's dump, rule by rule, with what each costs by a calibration profile.

A dump has one node: what becomes of the packet behind it is not known. Where the way depends on what svcsim can't know, there
is a way for each possibility.
"""

from __future__ import annotations

from svcsim.calibration.costs import costs_of
from svcsim.calibration.profile import Profile
from svcsim.linux.address import is_ipv6
from svcsim.linux.dump import Dump
from svcsim.linux.dump_walk import Host, PacketWalk
from svcsim.linux.exploring import Branch, Trial
from svcsim.linux.flow_text import format_packet
from svcsim.linux.packet import Decision, Packet, Verdict
from svcsim.report.dump_check import condition
from svcsim.report.packet_way import NodeLeg, PacketWay, return_legs
from svcsim.report.tracing import step_costs
from svcsim.world.hosts import charges_of


def mode_of(dump: Dump, packet: Packet) -> str:
    """The proxy mode whose rules the dump has, for the costs."""
    if dump.services:
        return "ipvs"
    ruleset = dump.iptables.get("IPv6" if is_ipv6(packet.destination) else "IPv4")
    if ruleset is None:
        return "nftables"
    return "userspace" if "nat" in ruleset and "KUBE-PORTALS-HOST" in ruleset["nat"].chains else "iptables"


def ways_of(
    dump: Dump, walk: PacketWalk, host: Host, profile: Profile, uniform: float, *, node: str, backend: str | None = None
) -> list[PacketWay]:
    """The way of a packet for each possibility; `uniform` chooses among endpoints."""
    mode = mode_of(dump, walk.packet)
    charges = charges_of(costs_of(profile, mode, backend if mode == "iptables" else None))
    conntrack_ns = round(profile.entry("path.conntrack_new").base_value)
    ways = []
    for branch in walk.possibilities.branches:
        trial = _chosen(branch, uniform)
        outcome = trial.outcome
        decision = Decision(
            outcome.verdict if outcome.verdict is not None else Verdict.NO_MATCH, outcome.destination, outcome.port,
            outcome.masquerade, trial.service_rules, trial.statistic_rules, trial.rules, endpoints=trial.endpoints,
        )
        costs, beside = step_costs(charges, decision, list(trial.steps), walk.packet.protocol, conntrack_ns)
        known = outcome.verdict is not None
        after, hidden = _source_after(trial, walk.packet, host)
        leg = NodeLeg(node, walk.packet, decision, trial.steps, costs, beside if known else (), after, hidden, known)
        conditions = " and ".join(condition(text, holds) for text, holds in branch.assumed)
        title = f"{mode}: {format_packet(walk.packet)}" + (f", if {conditions}" if conditions else "")
        ending = "" if known else f"what becomes of it is not known: it comes to {outcome.why}"
        ways.append(PacketWay(title, (leg,), return_legs([leg]) if known and not hidden else (), ending))
    return ways


def _chosen(branch: Branch, uniform: float) -> Trial:
    passed = 0.0
    for share in branch.shares:
        passed += share.probability
        if uniform < passed:
            return share.trial
    return branch.shares[-1].trial


def _source_after(trial: Trial, packet: Packet, host: Host) -> tuple[tuple[int, int] | None, bool]:
    """The source behind the node if it is another one, and whether it is another one that is not known."""
    outcome = trial.outcome
    if outcome.source_after is not None:
        return (outcome.source_after[0], outcome.source_after[1] or packet.source_port), False
    if not outcome.masquerade:
        return None, False
    own = sorted(each for each in host.addresses if is_ipv6(each) == is_ipv6(outcome.destination))
    if len(own) != 1:
        return None, True
    return (own[0], packet.source_port), False
