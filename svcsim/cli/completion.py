"""`svcsim completion SHELL`: print the script with which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, which is bash (4.4 or later), zsh or fish.

    \b
    eval "$(svcsim completion bash)"
    svcsim completion zsh > "${fpath[1]}/_svcsim"
    svcsim completion fish > ~/.config/fish/completions/svcsim.fish
    """
    from svcsim.cli.main import cli

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(cli, {}, "svcsim", "_SVCSIM_COMPLETE").source())
