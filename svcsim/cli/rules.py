"""`svcsim rules SCENARIO --node N`: what kube-proxy has programmed there, as the node's own tools print it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from svcsim.errors import UsageError

if TYPE_CHECKING:
    from svcsim.report.node_rules import NodeRules
    from svcsim.scenario.model import Scenario


@click.command("rules")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--node", help="The node whose rules are printed.")
@click.option("--at", default="0s", help="When, as in 30s: faults before then have happened.", show_default=True)
@click.option("--mode", "modes", multiple=True, metavar="MODE", help="In this proxy mode: iptables/nft, ipvs/lc, …")
@click.option("--only", multiple=True, metavar="LABEL", help="Of this variant of the comparison, by its label.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option(
    "--part", type=click.Choice(["iptables", "ip6tables", "ipset", "ipvsadm", "nft"]), help="Only what this tool prints."
)
@click.option("--diff", metavar="TIME|LABEL", help="What is other at this time, or in this variant or mode, as a unified diff.")
@click.option("--save", "save_path", type=click.Path(path_type=Path), help="Write to this file instead of standard output.")
@click.option("--check", is_flag=True, help="Read FILES that real tools have printed on a node, and tell what is in them.")
@click.option("--packet", "packets", multiple=True, metavar="FLOW", help="With --check: what becomes of it; may be repeated.")
@click.option("--local", multiple=True, metavar="ADDRESS", help="With --check: an address of the node; may be repeated.")
@click.option("--in", "comes_by", default="", metavar="NAME", help="With --check: the interface by which packets come in.")
@click.option("--out", "leaves_by", default="", metavar="NAME", help="With --check: the interface by which packets leave.")
@click.option("--all-services", is_flag=True, help="With --check: list every Service.")
@click.option("--json", "as_text", is_flag=True, help="With --check: print JSON.")
def rules(
    files: tuple[Path, ...], node: str | None, at: str, modes: tuple[str, ...], only: tuple[str, ...], settings: tuple[str, ...],
    part: str | None, diff: str | None, save_path: Path | None, check: bool, packets: tuple[str, ...], local: tuple[str, ...],
    comes_by: str, leaves_by: str, all_services: bool, as_text: bool,
) -> None:
    """Print what kube-proxy has programmed on a node, as iptables-save, nft list ruleset, ipset save and ipvsadm -Sn print it.

    FILES is a scenario. The same tools load what is printed. Nothing of the scenario after --at is simulated.

    With --check FILES are what those tools have printed on a real node: it is told what they hold, what of it is not understood,
    and what becomes of packets.

    \b
    svcsim rules scenarios/failover.yaml --node worker-1 --mode iptables
    svcsim rules scenarios/failover.yaml --node worker-1 --mode ipvs/rr --part ipset | ipset restore
    svcsim rules scenarios/failover.yaml --node worker-1 --mode nftables --at 10s --diff 40s
    svcsim rules --check node.txt --packet '10.0.0.5:40000>10.96.0.10:53/udp'
    """
    if check:
        given = {"--node": node, "--mode": modes, "--only": only, "--set": settings, "--part": part, "--diff": diff}
        for option, value in given.items():
            if value:
                raise UsageError(f"{option} is for a scenario, not for --check")
        _write(_checked(files, packets, local, comes_by, leaves_by, all_services, as_text), save_path)
        return
    if packets or local or comes_by or leaves_by or all_services or as_text:
        raise UsageError("--packet, --local, --in, --out, --all-services and --json go with --check (svcsim trace has --packet)")
    if len(files) != 1:
        raise UsageError("one scenario is wanted, or --check and the files of a node")
    text, note = _programmed(files[0], node, at, modes, only, settings, part, diff)
    if note:
        click.echo(note, err=True)
    _write(text, save_path)


def _programmed(
    scenario: Path, node: str | None, at: str, modes: tuple[str, ...], only: tuple[str, ...], settings: tuple[str, ...],
    part: str | None, diff: str | None,
) -> tuple[str, str]:
    """What a scenario's node has, or what differs; and a note."""
    from svcsim.cli.moment import instant
    from svcsim.cli.overrides import overrides_of
    from svcsim.report.node_rules import differences
    from svcsim.scenario.loader import load

    at_ns, other_ns, other_label = instant("--at", at), None, ""
    if diff is not None:
        try:
            other_ns = instant("--diff", diff)
        except UsageError:
            other_label = diff
    both = (*modes, other_label) if modes and other_label else modes
    try:
        loaded = load(scenario, overrides_of(settings, modes=both))
    except UsageError as error:
        if other_label and repr(other_label) in str(error):
            raise UsageError(f"--diff: not a time, as 40s; {str(error).removeprefix('--mode: ')}") from None
        raise
    node = _node(loaded, node)
    label = _label(loaded, modes, only, other_label)
    first = _rules(loaded, label, node, at_ns, in_order=diff is not None)
    if diff is None:
        return first.text(part or ""), ""
    second = _rules(loaded, other_label or label, node, at_ns if other_ns is None else other_ns, in_order=True, option="--diff")
    text = differences(first, second)
    return text, "" if text else f"no difference between {first.title} and {second.title}"


def _checked(
    files: tuple[Path, ...], packets: tuple[str, ...], local: tuple[str, ...], comes_by: str, leaves_by: str, all_services: bool,
    as_text: bool,
) -> str:
    """What the files of a node hold, and what becomes of packets there."""
    import json

    from svcsim.cli.dumps import host_of, packet_of, read_files
    from svcsim.linux.dump_walk import walk_packet
    from svcsim.report.dump_check import dump_json, render_dump, render_foreign, render_walk, walk_json
    from svcsim.report.terminal import ink_for, printable

    dump = read_files(files)
    host = host_of(dump, local, comes_by, leaves_by)
    walks = [walk_packet(dump, packet_of(text, host), host) for text in packets]
    if as_text:
        return json.dumps({**dump_json(dump), "packets": [walk_json(walk) for walk in walks]}, indent=2) + "\n"
    ink = ink_for(sys.stdout)
    blocks = [render_dump(dump, ink, all_services=all_services), *(render_walk(walk, ink) for walk in walks)]
    if walks and not local:
        blocks.append(render_foreign(walks, host, ink))
    return printable("\n\n".join(blocks), sys.stdout) + "\n"


def _label(scenario: Scenario, modes: tuple[str, ...], only: tuple[str, ...], other: str) -> str:
    """The one variant that is meant."""
    from svcsim.sweep.runs import jobs_of

    labels = list(dict.fromkeys(job.label for job, _ in jobs_of(scenario, only)))
    if modes and other:
        labels = [label for label in labels if label != other]
    if len(labels) > 1:
        hint = "--only" if only or modes else "--mode or --only"
        raise UsageError(f"the scenario has {len(labels)} variants ({', '.join(labels)}): choose one with {hint}")
    return labels[0]


def _node(scenario: Scenario, node: str | None) -> str:
    if node is not None:
        return node
    from svcsim.world.addressing import machines_of

    names = [machine.name for machine in machines_of(scenario)]
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    raise UsageError(f"--node says whose rules are meant: {shown}")


def _rules(scenario: Scenario, label: str, node: str, at_ns: int, *, in_order: bool, option: str = "--at") -> NodeRules:
    from svcsim.cli.moment import pass_time
    from svcsim.report.node_rules import rules_of
    from svcsim.sweep.runs import jobs_of
    from svcsim.world import build

    matching = jobs_of(scenario, (label,))
    job, variant = next((pair for pair in matching if pair[0].label == label), matching[0])
    world = build(variant, seed=job.seed, label=job.label)
    return rules_of(pass_time(world, at_ns, option), node, in_order=in_order)


def _write(text: str, path: Path | None) -> None:
    if path is None:
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from None
