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
@click.argument("scenario", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--node", help="The node whose rules are printed.")
@click.option("--at", default="0s", help="When, as in 30s: faults before then have happened.", show_default=True)
@click.option("--mode", "modes", multiple=True, metavar="MODE", help="In this proxy mode: iptables/nft, ipvs/lc, …")
@click.option("--only", multiple=True, metavar="LABEL", help="Of this variant of the comparison, by its label.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option(
    "--part", type=click.Choice(["iptables", "ipset", "ipvsadm", "nft"]), help="Only what this tool prints, to pipe into it."
)
@click.option("--diff", metavar="TIME|LABEL", help="What is other at this time, or in this variant or mode, as a unified diff.")
@click.option("--save", "save_path", type=click.Path(path_type=Path), help="Write to this file instead of standard output.")
def rules(
    scenario: Path, node: str | None, at: str, modes: tuple[str, ...], only: tuple[str, ...], settings: tuple[str, ...],
    part: str | None, diff: str | None, save_path: Path | None,
) -> None:
    """Print what kube-proxy has programmed on a node, as iptables-save, nft list ruleset, ipset save and ipvsadm -Sn print it.

    The same tools load it. Nothing of the scenario after --at is simulated.

    \b
    svcsim rules scenarios/failover.yaml --node worker-1 --mode iptables
    svcsim rules scenarios/failover.yaml --node worker-1 --mode ipvs/rr --part ipset | ipset restore
    svcsim rules scenarios/failover.yaml --node worker-1 --mode nftables --at 10s --diff 40s
    """
    from svcsim.cli.overrides import overrides_of
    from svcsim.report.node_rules import differences
    from svcsim.scenario.loader import load

    at_ns, other_ns, other_label = _instant("--at", at), None, ""
    if diff is not None:
        try:
            other_ns = _instant("--diff", diff)
        except UsageError:
            other_label = diff
    both = (*modes, other_label) if modes and other_label else modes
    loaded = load(scenario, overrides_of(settings, modes=both))
    node = _node(loaded, node)
    label = _label(loaded, modes, only, other_label)
    ordered = diff is not None
    first = _rules(loaded, label, node, at_ns, in_order=ordered)
    if diff is None:
        text = first.text(part or "")
    else:
        second = _rules(loaded, other_label or label, node, at_ns if other_ns is None else other_ns, in_order=True)
        text = differences(first, second)
        if not text:
            click.echo(f"no difference between {first.title} and {second.title}", err=True)
    _write(text, save_path)


def _instant(option: str, text: str) -> int:
    from svcsim.units import duration_ns

    try:
        return duration_ns(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


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


def _rules(scenario: Scenario, label: str, node: str, at_ns: int, *, in_order: bool) -> NodeRules:
    from svcsim.report.node_rules import rules_of
    from svcsim.sweep.runs import jobs_of
    from svcsim.world import build

    matching = jobs_of(scenario, (label,))
    job, variant = next((pair for pair in matching if pair[0].label == label), matching[0])
    world = build(variant, seed=job.seed, label=job.label)
    if at_ns:
        world.advance(at_ns)
    return rules_of(world, node, in_order=in_order)


def _write(text: str, path: Path | None) -> None:
    if path is None:
        sys.stdout.write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from None
