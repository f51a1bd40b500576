"""`svcsim dns SCENARIO NAME [TYPE]`: a name looked up in the simulated cluster; `--serve` answers real resolvers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from svcsim.world.world import World


@click.command("dns")
@click.argument("scenario", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("name", required=False)
@click.argument("rtype", metavar="TYPE", required=False)
@click.option("--at", default="0s", help="When, as in 30s: faults before then have happened.", show_default=True)
@click.option("--from", "source", help="Who asks: pod/NAME, deployment/NAME[i], node/NAME; by default a client of the scenario.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option("--serve", "place", metavar="ADDRESS:PORT", help="Answer real resolvers there, over UDP and TCP, until Ctrl-C.")
@click.option("--json", "as_text", is_flag=True, help="Print JSON.")
def dns(
    scenario: Path, name: str | None, rtype: str | None, at: str, source: str | None, settings: tuple[str, ...],
    place: str | None, as_text: bool,
) -> None:
    """Look NAME up from a pod of SCENARIO: every query with the server pod that answered it, then the answer as dig has it.

    Without TYPE both addresses are asked for (A and AAAA), as getaddrinfo does; an address as NAME asks for its PTR record. The
    queries are traffic of the simulated cluster. Of a scenario that compares, the first variant is asked.

    \b
    svcsim dns scenarios/failover.yaml web.default
    svcsim dns scenarios/failover.yaml --at 40s _http._tcp.web.default.svc.cluster.local SRV
    svcsim dns scenarios/failover.yaml --serve 127.0.0.1:5300
    """
    import json
    import sys

    from svcsim.cli.moment import instant, pass_time
    from svcsim.cli.overrides import overrides_of
    from svcsim.errors import UsageError
    from svcsim.report.name_lookup import as_json, look_up, render
    from svcsim.report.terminal import ink_for, printable
    from svcsim.scenario.loader import load
    from svcsim.sweep.runs import jobs_of
    from svcsim.world import build

    at_ns = instant("--at", at)
    if place is not None and name is not None:
        raise UsageError("--serve answers every name: leave the name out")
    if place is None and name is None:
        raise UsageError("a name is missing, as in: svcsim dns SCENARIO web.default (or --serve 127.0.0.1:5300)")
    host, port = _place(place) if place is not None else ("", 0)
    job, variant = jobs_of(load(scenario, overrides_of(settings)))[0]
    world = build(variant, seed=job.seed, label=job.label, discovery=True)
    pass_time(world, at_ns)
    if name is None:
        _serve(world, host, port)
        return
    found = look_up(world, name, rtype, source)
    if as_text:
        click.echo(json.dumps(as_json(found), indent=2))
        return
    click.echo(printable(render(found, ink_for(sys.stdout)), sys.stdout))


def _place(text: str) -> tuple[str, int]:
    """Address and port of `127.0.0.1:5300` or `[::1]:5300`; UsageError if it is neither."""
    from ipaddress import ip_address

    from svcsim.errors import UsageError

    host, _, port = text.rpartition(":")
    try:
        address = str(ip_address(host.strip("[]")))
    except ValueError:
        address = ""
    if not address or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--serve takes ADDRESS:PORT, as 127.0.0.1:5300 (got {text!r})")
    return address, int(port)


def _serve(world: World, host: str, port: int) -> None:
    """Answer real resolvers with what the cluster's DNS knows, addresses in turn as CoreDNS's loadbalance gives them."""
    from itertools import count

    from svcsim.engine.streams import splitmix64
    from svcsim.errors import UsageError
    from svcsim.kube.dns.records import Answer, balanced

    try:
        from svcsim.kube.dns.sockets import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "dns":
            raise
        raise UsageError("--serve needs dnspython: pip install 'svcsim[dns]'") from error

    asked = count()
    server = world.naming.server

    def answer_of(name: str, rtype: str) -> Answer:
        return balanced(server.answer(name, rtype), splitmix64(next(asked)))

    def ready(address: str, bound: int) -> None:
        zone = server.config.primary_zone
        click.echo(f"{zone} on {address}:{bound}, UDP and TCP; Ctrl-C ends it", err=True)
        click.echo(f"  dig @{address} -p {bound} kube-dns.kube-system.svc.{zone.rstrip('.')}", err=True)

    serve(answer_of, host, port, ready)
