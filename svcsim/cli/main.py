"""`svcsim`: the commands, loaded when they are used, and the one place where errors become messages and exit codes.

Exit codes: 0 pass; 1 a threshold or a regression; 2 usage or an invalid scenario; 3 a fault of the simulation itself; 130 an
interruption; 141 nobody reads the output any more, as after SIGPIPE.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import sys
from typing import Any

import click

from svcsim.version import __version__

COMMANDS = {
    "init": "Write a commented scenario to begin with.",
    "examples": "List or copy the scenarios that come with svcsim.",
    "run": "Simulate a scenario: tables, figures, a folder of results.",
    "compare": "Run variants in pairs: differences with intervals, and a verdict on each.",
    "sweep": "Run a scenario at many points: one table, figures, resumable.",
    "check": "A gate for CI: expectations, and a stored baseline.",
    "validate": "Check scenario files without running them.",
    "validate-model": "Set the model against published and measured figures.",
    "trace": "Print a packet's way through the cluster, rule by rule.",
    "rules": "Print what kube-proxy has programmed on a node, as the node's tools do.",
    "env": "Print a container's environment variables.",
    "dns": "Look a name up in the cluster, query by query, or serve its names.",
    "get": "Print the cluster's objects at a time, as kubectl would.",
    "events": "Print the cluster's events, as kubectl would.",
    "plot": "Draw the figures of a folder of results.",
    "report": "Write the report of a folder of results as one HTML page.",
    "explain": "Say in words why the slowest requests were slow or failed.",
    "schema": "Print the JSON Schema of the scenario file.",
    "completion": "Print the script with which a shell completes commands.",
}
"""Each command and its line in the help: a module of the same name holds it, a hyphen being an underscore there."""

INTERRUPTED = 130
UNREAD = 141
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
SELDOM = 300_000
"""After how many new objects a command looks for cycles; a simulation does not at all (`World.run`)."""


class _UnreadError(Exception):
    """Whoever read our output has gone; no OSError, of which click would make an exit code of its own."""


class Commands(click.Group):
    """Commands that are imported only when they are called, so that help costs click alone."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is called."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _UnreadError from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, as the help lists them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, from its module."""
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"svcsim.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is called; the nearest name for one that there is not."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from svcsim.spelling import nearest

            raise click.UsageError(f"there is no command {args[0]!r}{nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in the help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="svcsim")
def cli() -> None:
    """What happens to the traffic of a Kubernetes Service when …?

    svcsim simulates the control plane that maintains a Service and the Linux data plane that it programs: each proxy mode, its
    latency, and what a fault costs.

    \b
    svcsim init my.yaml && svcsim run my.yaml
    svcsim run scenarios/failover.yaml
    svcsim COMMAND --help
    """


def main() -> None:
    """The entry point: run a command and leave with its exit code."""
    # Modules and models are tens of thousands of objects that all stay: looking for cycles among them on the way in and once more
    # on the way out would be a fifth of a short command's time.
    gc.set_threshold(SELDOM)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # the search for plugins reads what is installed
    # A name of a file need not be text, nor what a terminal's encoding has: it is shown as well as that can be done.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    code = run()
    gc.freeze()
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code, errors printed to standard error."""
    try:
        result = cli.main(arguments, prog_name="svcsim", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except click.Abort:
        return _interrupted()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except (BrokenPipeError, _UnreadError):
        return _unread()
    except Exception as error:
        from svcsim.errors import SvcsimError

        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            click.echo(f"can't write the output: {error.strerror}", err=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 2
        if not isinstance(error, SvcsimError):
            raise
        click.echo("\n".join([str(error), *getattr(error, "__notes__", ())]), err=True)
        return error.exit_code
    return result if isinstance(result, int) else 0


def _unread() -> int:
    """Whoever read our output has gone, as `head` does: nothing more is to be written, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return UNREAD


def _interrupted() -> int:
    click.echo("interrupted", err=True)
    return INTERRUPTED


if __name__ == "__main__":
    main()
