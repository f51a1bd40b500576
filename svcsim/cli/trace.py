"""`svcsim trace SCENARIO --from POD --to SERVICE:PORT`: a packet's way, rule by rule, in every mode."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("trace")
@click.argument("scenario", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--from", "source", required=True, help="Who sends: pod/NAME, deployment/NAME[i], node/NAME, outside/NAME.")
@click.option("--to", "destination", required=True, help="Where to: SERVICE[.NAMESPACE]:PORT or ADDRESS:PORT.")
@click.option("--udp", is_flag=True, help="A datagram instead of a SYN.")
@click.option("--at", default="0s", help="When, as in 30s: faults before then have happened.", show_default=True)
@click.option("--choice", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="The random number that chooses.")
@click.option("--mode", "modes", multiple=True, help="Only these modes; may be repeated.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option("--all-rules", is_flag=True, help="Print every rule, also long runs that do not match.")
@click.option("--json", "as_text", is_flag=True, help="Print JSON.")
def trace(
    scenario: Path, source: str, destination: str, udp: bool, at: str, choice: float, modes: tuple[str, ...],
    settings: tuple[str, ...], all_rules: bool, as_text: bool,
) -> None:
    """Print the way of a connection's first packet through the nodes that it crosses, and of its answer.

    Each rule that the kernel examines stands there with its cost, in every proxy mode that SCENARIO compares.

    \b
    svcsim trace scenarios/failover.yaml --from deployment/client --to web:80
    svcsim trace scenarios/failover.yaml --from deployment/client --to web:80 --mode iptables --at 40s
    """
    import json
    import sys

    from svcsim.cli.overrides import overrides_of
    from svcsim.errors import UsageError
    from svcsim.linux.packet import TCP, UDP
    from svcsim.report.packet_way import as_json, render
    from svcsim.report.terminal import ink_for, printable
    from svcsim.report.tracing import trace as trace_packet
    from svcsim.scenario.loader import load
    from svcsim.sweep.runs import jobs_of
    from svcsim.units import duration_ns
    from svcsim.world import build

    try:
        at_ns = duration_ns(at)
    except ValueError as error:
        raise UsageError(f"--at: {error}") from error
    loaded = load(scenario, overrides_of(settings, modes=modes))
    ways = []
    for job, variant in jobs_of(loaded):
        if job.replication:
            continue
        world = build(variant, seed=job.seed, label=job.label)
        if at_ns:
            world.advance(at_ns)
        ways.append(trace_packet(world, source, destination, protocol=UDP if udp else TCP, uniform=choice))
    if as_text:
        click.echo(json.dumps([as_json(way) for way in ways], indent=2))
        return
    ink = ink_for(sys.stdout)
    click.echo(printable("\n\n".join(render(way, ink, all_rules=all_rules) for way in ways), sys.stdout))
