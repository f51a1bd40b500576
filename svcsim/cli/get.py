"""`svcsim get SCENARIO [KIND [NAME]]`: the cluster's objects at a time, as kubectl prints them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from svcsim.kube.events import ApiEvent
    from svcsim.kube.kinds import KubeObject
    from svcsim.world.world import World

ALL = ("Pod", "Service", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")
"""The kinds that `all` means."""


@click.command("get")
@click.argument("scenario", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("kind", default="all")
@click.argument("name", nargs=-1)
@click.option("--at", default="0s", help="When, as in 30s: what happens before then has happened.", show_default=True)
@click.option("-n", "--namespace", default="default", help="The namespace.", show_default=True)
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-l", "--selector", default="", help="Only objects with these labels, as app=web,tier!=db.")
@click.option("-o", "--output", default="table", help="table, wide, yaml, json or name.", show_default=True)
@click.option("--mode", default="", help="In this proxy mode; by default the first that the scenario compares.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
def get(
    scenario: Path, kind: str, name: tuple[str, ...], at: str, namespace: str, all_namespaces: bool, selector: str, output: str,
    mode: str, settings: tuple[str, ...],
) -> None:
    """Print the objects of a KIND, or the NAMEd ones, as kubectl would.

    KIND is a kind, its plural or short name, several with commas, KIND/NAME, or all.

    \b
    svcsim get scenarios/failover.yaml pods --at 40s -o wide
    svcsim get scenarios/failover.yaml svc/web -o yaml
    """
    import json
    import sys

    from svcsim.errors import UsageError
    from svcsim.kube.printing import Look, aligned, rows_of
    from svcsim.kube.selection import parse_selector
    from svcsim.kube.wire import event_manifest, list_of, manifest_of
    from svcsim.report.terminal import printable
    from svcsim.spelling import nearest
    from svcsim.yamldump import dump

    outputs = ("table", "wide", "yaml", "json", "name")
    if output not in outputs:
        raise UsageError(f"-o: there is no output {output[:40]!r}{nearest(output, outputs, listed=9)}")
    kind, slash, one = kind.partition("/")
    names = (one, *name) if slash else name
    kinds = _kinds(kind)
    if names and len(kinds) > 1:
        raise UsageError("a name goes with one kind")
    try:
        wanted = parse_selector(selector)
    except ValueError as error:
        raise UsageError(f"-l: {error}") from error
    world = world_at(scenario, at, settings, mode)
    version = world.scenario.kubernetes.version
    look = Look(world.store, world.clock.now, f"v{version.removeprefix('v')}" if version else "")
    everywhere = all_namespaces
    groups: list[tuple[str, list[Any]]] = []
    for each in kinds:
        found = _objects(world, each, None if everywhere else namespace)
        if names:
            found = _named(found, each, names, namespace)
        if selector:
            found = [obj for obj in found if wanted.matches({} if each == "Event" else obj.metadata.labels)]
        groups.append((each, found))
    if output in ("yaml", "json"):
        items = [event_manifest(obj) if each == "Event" else manifest_of(obj) for each, found in groups for obj in found]
        data = items[0] if len(names) == 1 else list_of(items)
        click.echo(dump(data).rstrip("\n") if output == "yaml" else json.dumps(data, indent=4))
        return
    if not any(found for _, found in groups):
        click.echo("No resources found" if everywhere else f"No resources found in {namespace} namespace.", err=True)
        return
    if output == "name":
        click.echo("\n".join(f"{_resource(each)}/{_name(obj)}" for each, found in groups for obj in found))
        return
    tables = [
        aligned(rows_of(
            each, found, look, wide=output == "wide", namespaces=everywhere and each != "Node",
            prefix=f"{_resource(each)}/" if len(kinds) > 1 else "",
        ))
        for each, found in groups if found
    ]
    click.echo(printable("\n\n".join(tables), sys.stdout))


def world_at(scenario: Path, at: str, settings: tuple[str, ...], mode: str) -> World:
    """The first variant of a scenario at a time (empty: its end). UsageError, InputError."""
    from svcsim.cli.moment import instant, pass_time
    from svcsim.cli.overrides import overrides_of
    from svcsim.scenario.loader import load
    from svcsim.sweep.runs import jobs_of
    from svcsim.world import build

    at_ns = instant("--at", at) if at else None
    job, variant = jobs_of(load(scenario, overrides_of(settings, modes=(mode,) if mode else ())))[0]
    world = build(variant, seed=job.seed, label=job.label)
    return pass_time(world, variant.run.duration_ns if at_ns is None else at_ns)


def _kinds(text: str) -> list[str]:
    from svcsim.errors import UsageError
    from svcsim.kube.kinds import KINDS, kind_named
    from svcsim.spelling import nearest

    found: list[str] = []
    for word in text.split(","):
        if word.lower() == "all":
            found += ALL
        elif word.lower() in ("event", "events", "ev"):
            found.append("Event")
        else:
            kind = kind_named(word)
            if kind is None:
                names = ["events", "all", *(name for each in KINDS for name in (each.plural, *each.short_names))]
                raise UsageError(f"there is no kind {word[:60]!r}{nearest(word.lower(), names)}")
            found.append(kind.name)
    return list(dict.fromkeys(found))


def _objects(world: World, kind: str, namespace: str | None) -> list[Any]:
    from svcsim.kube.kinds import kind_named

    if kind == "Event":
        events = sorted(world.store.events.entries, key=lambda event: event.last_ns)
        return [event for event in events if namespace in (None, event.namespace)]
    known = kind_named(kind)
    assert known is not None
    found = [
        obj for obj in world.store.each(known.model) if not known.namespaced or namespace in (None, obj.metadata.namespace)
    ]
    return sorted(found, key=lambda obj: (obj.metadata.namespace, obj.metadata.name))


def _named(found: list[Any], kind: str, names: tuple[str, ...], namespace: str) -> list[Any]:
    from svcsim.errors import UsageError
    from svcsim.spelling import nearest

    chosen = []
    for name in names:
        matching = [obj for obj in found if _name(obj) == name]
        if not matching:
            place = "" if kind == "Node" else f" in namespace {namespace}"
            raise UsageError(f"there is no {kind} {name[:80]!r}{place}{nearest(name, [_name(obj) for obj in found], listed=5)}")
        chosen += matching
    return chosen


def _name(obj: KubeObject | ApiEvent) -> str:
    from svcsim.kube.events import ApiEvent

    return obj.name if isinstance(obj, ApiEvent) else obj.metadata.name


def _resource(kind: str) -> str:
    """The kind as kubectl writes it before a name: `deployment.apps`."""
    from svcsim.kube.kinds import kind_named

    known = kind_named(kind)
    group = known.api_versions[0].rpartition("/")[0] if known is not None else ""
    return f"{kind.lower()}.{group}" if group else kind.lower()
