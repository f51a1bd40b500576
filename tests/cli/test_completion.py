"""`svcsim completion`: the scripts are those with which click completes, and they complete commands and options."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from svcsim.cli.completion import SHELLS
from svcsim.cli.main import COMMANDS, cli, run


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_asks_svcsim_itself(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_SVCSIM_COMPLETE={shell}_complete" in script


def test_another_shell_is_said_to_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_a_command_and_an_option(tmp_path: Path) -> None:
    script = tmp_path / "svcsim"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m svcsim "$@"\n')
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    asked = """eval "$(svcsim completion bash)"
for words in "svcsim compl" "svcsim sweep --rep"; do
    COMPREPLY=(); COMP_WORDS=($words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _svcsim_completion svcsim; echo "${COMPREPLY[@]}"
done"""
    done = subprocess.run(["bash", "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["completion", "--replications"]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_fits_its_width_and_has_an_example(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    top = click.Context(cli, info_name="svcsim", terminal_width=100, **cli.context_settings)
    text = command.get_help(click.Context(command, parent=top, info_name=name))
    assert max(map(len, text.splitlines())) <= 100
    assert any(line.strip().startswith((f"svcsim {name} ", f'eval "$(svcsim {name} ')) for line in text.splitlines()[1:]), text
