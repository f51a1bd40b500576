"""`svcsim trace`: a packet's way, rule by rule: through the cluster of a scenario, or through what a real node has printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from svcsim.errors import UsageError

if TYPE_CHECKING:
    from svcsim.report.packet_way import PacketWay


@click.command("trace")
@click.argument("scenario", required=False, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--from", "source", help="Who sends: pod/NAME, deployment/NAME[i], node/NAME, outside/NAME.")
@click.option("--to", "destination", help="Where to: SERVICE[.NAMESPACE]:PORT or ADDRESS:PORT.")
@click.option("--packet", "packets", multiple=True, metavar="FLOW", help="Instead of --from and --to; may be repeated.")
@click.option("--node", default="", help="Where such a packet comes in; default: the node of its source.")
@click.option("--dump", "dumps", multiple=True, type=click.Path(path_type=Path, allow_dash=True), help="Rules of a real node.")
@click.option("--local", multiple=True, metavar="ADDRESS", help="With --dump: an address of the node; may be repeated.")
@click.option("--in", "comes_by", default="", metavar="NAME", help="With --dump: the interface by which packets come in.")
@click.option("--out", "leaves_by", default="", metavar="NAME", help="With --dump: the interface by which packets leave.")
@click.option("--family", type=click.Choice(["IPv4", "IPv6"]), help="Which cluster IP of a dual-stack Service.")
@click.option("--udp", is_flag=True, help="A datagram instead of a SYN.")
@click.option("--at", default="0s", help="When, as in 30s: faults before then have happened.", show_default=True)
@click.option("--choice", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="The random number that chooses.")
@click.option("--mode", "modes", multiple=True, help="Only these modes; may be repeated.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option("--all-rules", is_flag=True, help="Print every rule, also long runs that do not match.")
@click.option("--json", "as_text", is_flag=True, help="Print JSON.")
def trace(
    scenario: Path | None, source: str | None, destination: str | None, packets: tuple[str, ...], node: str,
    dumps: tuple[Path, ...], local: tuple[str, ...], comes_by: str, leaves_by: str, family: str | None, udp: bool, at: str,
    choice: float, modes: tuple[str, ...], settings: tuple[str, ...], all_rules: bool, as_text: bool,
) -> None:
    """Print the way of a connection's first packet through the nodes that it crosses, and of its answer.

    Each rule that the kernel examines stands there with its cost, in every proxy mode that SCENARIO compares. With --dump the
    rules are those that iptables-save, nft list ruleset, ipset save and ipvsadm -Sn have printed on a real node.

    \b
    svcsim trace scenarios/failover.yaml --from deployment/client --to web:80
    svcsim trace scenarios/failover.yaml --from deployment/client --to web:80 --mode iptables --at 40s
    svcsim trace scenarios/failover.yaml --packet '10.244.0.3:40000>10.96.0.10:53/udp' --mode nftables
    svcsim trace --dump node.txt --packet '10.244.0.3:40000>10.96.0.10:53/udp'
    """
    import json
    import sys

    from svcsim.report.packet_way import as_json, render
    from svcsim.report.terminal import ink_for, printable

    if (scenario is None) == (not dumps):
        raise UsageError("one scenario is wanted, or --dump and the file of a node")
    ends = source is not None, destination is not None
    if any(ends) if packets else not all(ends):
        raise UsageError("a packet is wanted: --from and --to, or --packet")
    if dumps:
        if not packets or node or modes or settings or family or udp or at != "0s":
            raise UsageError("--dump goes with --packet, --local, --in, --out, --choice, --all-rules and --json alone")
        ways = _through_dump(dumps, packets, local, comes_by, leaves_by, choice)
    else:
        assert scenario is not None
        if local or comes_by or leaves_by:
            raise UsageError("--local, --in and --out go with --dump: a scenario's nodes are known")
        if packets and (udp or family):
            raise UsageError("--packet says protocol and family itself, as in 10.244.0.3>10.96.0.10:53/udp")
        ways = _through_scenario(scenario, source, destination, packets, node, family, udp, at, choice, modes, settings)
    if as_text:
        click.echo(json.dumps([as_json(way) for way in ways], indent=2))
        return
    ink = ink_for(sys.stdout)
    click.echo(printable("\n\n".join(render(way, ink, all_rules=all_rules) for way in ways), sys.stdout))


def _through_dump(
    dumps: tuple[Path, ...], packets: tuple[str, ...], local: tuple[str, ...], comes_by: str, leaves_by: str, choice: float
) -> list[PacketWay]:
    from svcsim.calibration.profile import load_profile
    from svcsim.cli.dumps import host_of, packet_of, read_files
    from svcsim.linux.dump_walk import walk_packet
    from svcsim.report.dump_tracing import ways_of

    dump = read_files(dumps)
    host = host_of(dump, local, comes_by, leaves_by)
    profile = load_profile()
    return [
        way
        for text in packets
        for way in ways_of(dump, walk_packet(dump, packet_of(text, host), host), host, profile, choice, node="the node")
    ]


def _through_scenario(
    scenario: Path, source: str | None, destination: str | None, packets: tuple[str, ...], node: str, family: str | None,
    udp: bool, at: str, choice: float, modes: tuple[str, ...], settings: tuple[str, ...],
) -> list[PacketWay]:
    from svcsim.cli.moment import instant, pass_time
    from svcsim.cli.overrides import overrides_of
    from svcsim.linux.flow_text import parse_packet
    from svcsim.linux.packet import TCP, UDP
    from svcsim.report.tracing import trace as trace_packet
    from svcsim.report.tracing import trace_flow
    from svcsim.scenario.loader import load
    from svcsim.sweep.runs import jobs_of
    from svcsim.world import build

    at_ns = instant("--at", at)
    try:
        flows = [parse_packet(text) for text in packets]
    except ValueError as error:
        raise UsageError(f"--packet: {error}") from None
    if node and not flows:
        raise UsageError("--node goes with --packet: --from says who sends")
    loaded = load(scenario, overrides_of(settings, modes=modes))
    ways = []
    for job, variant in jobs_of(loaded):
        if job.replication:
            continue
        world = build(variant, seed=job.seed, label=job.label)
        pass_time(world, at_ns)
        if source is not None and destination is not None:
            protocol = UDP if udp else TCP
            ways.append(trace_packet(world, source, destination, protocol=protocol, uniform=choice, family=family))
        ways += [trace_flow(world, flow, node, uniform=choice) for flow in flows]
    return ways
