"""`svcsim env SCENARIO POD`: a container's environment variables, as `env` in it would print them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from svcsim.world.world import World


@click.command("env")
@click.argument("scenario", type=click.Path(path_type=Path, allow_dash=True))
@click.argument("pod")
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--at", default="0s", help="When, as in 30s: what has happened before then has its effect.", show_default=True)
@click.option("-c", "--container", default="", help="The container, by name; by default the pod's first.")
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change a value of the scenario; may be repeated.")
@click.option("-o", "--output", type=click.Choice(["env", "json"]), default="env", show_default=True, help="How it is printed.")
def env(
    scenario: Path, pod: str, names: tuple[str, ...], at: str, container: str, settings: tuple[str, ...], output: str
) -> None:
    """Print the environment of a container of POD, as `env` in it would; with NAMEs, their values, as `printenv` would.

    A container's variables are made when it starts, of the Services that there are by then, and stay as they are. POD is a pod's
    name, pod/NAME or deployment/NAME[i]. With NAMEs the exit code is 1 if one of them is not set.

    \b
    svcsim env scenarios/failover.yaml deployment/client
    svcsim env scenarios/failover.yaml deployment/client WEB_SERVICE_HOST
    """
    import json

    from svcsim.cli.moment import instant, pass_time
    from svcsim.cli.overrides import overrides_of
    from svcsim.errors import UsageError
    from svcsim.scenario.loader import load
    from svcsim.spelling import nearest
    from svcsim.sweep.runs import jobs_of
    from svcsim.world import build

    at_ns = instant("--at", at)
    job, variant = jobs_of(load(scenario, overrides_of(settings)))[0]
    world = build(variant, seed=job.seed, label=job.label, discovery=True)
    pass_time(world, at_ns)
    key = _key(world, pod)
    containers = [each.name for each in world.environments.pod(key).spec.containers]
    if container and container not in containers:
        raise UsageError(f"pod {key} has no container {container!r}{nearest(container, containers)}")
    made = {variable.name: variable.value for variable in world.environments.of(key, container)}
    if output == "json":
        click.echo(json.dumps({name: made.get(name) for name in names} if names else made, indent=2))
    elif names:
        for name in names:
            if name in made:
                click.echo(made[name])
    else:
        for name, value in made.items():
            click.echo(f"{name}={value}")
    if any(name not in made for name in names):
        raise click.exceptions.Exit(1)


def _key(world: World, text: str) -> str:
    """`namespace/name` of the running pod that is meant; UsageError if there is none."""
    from svcsim.errors import UsageError
    from svcsim.faults.owners import pods_of
    from svcsim.scenario.target import parse_target
    from svcsim.spelling import nearest

    try:
        target = parse_target(text if "/" in text else f"pod/{text}")
    except ValueError as error:
        raise UsageError(str(error)) from error
    if target.is_pods:
        for pod in pods_of(world.store, target):
            if world.environments.has(pod.metadata.key):
                return pod.metadata.key
        started = [key for key in world.containers.running if target.kind == "pod" and key.startswith(target.key)]
        if started:
            return started[0]
    names = [key.removeprefix("default/") for key in world.containers.running]
    raise UsageError(f"no pod runs that is {target}{nearest(target.name, names)}")
