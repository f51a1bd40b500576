"""`svcsim init`: a commented scenario to begin with, about a demo Deployment or one's own manifests."""

from __future__ import annotations

from pathlib import Path

import click

from svcsim.errors import UsageError


@click.command("init")
@click.argument("scenario", type=click.Path(path_type=Path), default=Path("scenario.yaml"))
@click.option(
    "--manifests", "-f", "files", multiple=True, type=click.Path(path_type=Path),
    help="Kubernetes manifests, or what `kubectl get … -o yaml` printed; may be repeated.",
)
@click.option("--service", metavar="[NAMESPACE/]NAME", help="The Service that traffic goes to; default: the first with pods.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(scenario: Path, files: tuple[Path, ...], service: str | None, force: bool) -> None:
    """Write a commented starter scenario to SCENARIO (default: scenario.yaml), ready to run.

    \b
    svcsim init && svcsim run scenario.yaml
    kubectl get nodes,pods,svc,endpointslices,deployments -A -o yaml > dump.yaml
    svcsim init shop.yaml -f dump.yaml --service shop/cart
    """
    from svcsim.scenario.starter import starter

    if scenario.exists() and not force:
        raise UsageError(f"{scenario} exists already: replace it with --force, or give another name")
    if not scenario.parent.is_dir():
        raise UsageError(f"can't write {scenario}: there is no folder {scenario.parent}")
    text = starter(scenario, files, service)
    try:
        scenario.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't write {scenario}: {error.strerror or error}") from None
    click.echo(f"{scenario} is ready: svcsim run {scenario}")
