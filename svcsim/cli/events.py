"""`svcsim events SCENARIO`: what the cluster's components say of their objects, as `kubectl events` prints it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("events")
@click.argument("scenario", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--at", default="", help="Events up to then, as in 30s; by default to the end of the run.")
@click.option("--for", "about", default="", help="Only events of this object, as pod/web-0.")
@click.option("--types", default="", help="Only events of these types: Normal, Warning.")
@click.option("-n", "--namespace", default="default", help="The namespace; events of nodes are in default.", show_default=True)
@click.option("-A", "--all-namespaces", is_flag=True, help="Events of all namespaces.")
@click.option("--mode", default="", help="In this proxy mode; by default the first that the scenario compares.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option("--json", "as_text", is_flag=True, help="Print JSON.")
def events(
    scenario: Path, at: str, about: str, types: str, namespace: str, all_namespaces: bool, mode: str, settings: tuple[str, ...],
    as_text: bool,
) -> None:
    """Print the events of the cluster, the one last seen last; times count from the start of the run.

    \b
    svcsim events scenarios/failover.yaml
    svcsim events scenarios/failover.yaml --types Warning --for node/worker-2
    """
    import json
    import sys

    from svcsim.cli.get import world_at
    from svcsim.errors import UsageError
    from svcsim.kube.kinds import kind_named
    from svcsim.kube.printing import aligned, human_duration
    from svcsim.report.terminal import printable
    from svcsim.spelling import nearest

    kinds = [word.strip().capitalize() for word in types.split(",") if word.strip()]
    for each in kinds:
        if each not in ("Normal", "Warning"):
            raise UsageError(f"--types: there is no type {each[:40]!r}{nearest(each, ('Normal', 'Warning'), listed=2)}")
    kind, slash, name = about.partition("/")
    known = kind_named(kind) if about else None
    if about and (not slash or not name or known is None):
        raise UsageError(f"--for: an object is written kind/name, as pod/web-0 (got {about[:60]!r})")
    world = world_at(scenario, at, settings, mode)
    found = [
        event for event in world.store.events.entries
        if (all_namespaces or event.namespace == namespace)
        and (not kinds or event.type in kinds)
        and (known is None or (event.involved.kind, event.involved.name) == (known.name, name))
    ]
    found.sort(key=lambda event: event.last_ns)
    if as_text:
        click.echo(json.dumps([
            {
                "first_ns": event.first_ns, "last_ns": event.last_ns, "count": event.count, "type": event.type,
                "reason": event.reason, "kind": event.involved.kind, "namespace": event.involved.namespace,
                "name": event.involved.name, "message": event.message, "component": event.component, "host": event.host,
            }
            for event in found
        ], indent=2))
        return
    if not found:
        click.echo("No events found" + ("." if all_namespaces else f" in {namespace} namespace."), err=True)
        return
    rows = [[*(["NAMESPACE"] if all_namespaces else []), "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]]
    for event in found:
        seen = f"{event.last_ns / 1e9:.3f}s"
        if event.count > 1:
            seen += f" (x{event.count} over {human_duration(event.last_ns - event.first_ns)})"
        rows.append([
            *([event.namespace] if all_namespaces else []), seen, event.type, event.reason, event.involved.text, event.message,
        ])
    click.echo(printable(aligned(rows), sys.stdout))
