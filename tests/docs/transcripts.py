"""The console transcripts of the pages: what they show is what the commands print.

`python -m tests.docs.transcripts docs/tutorial.md` runs every command of a page and writes its output into the page.

A block of language `console` holds commands, each after `$ `, and their output. A block after a line that ends in a file's name
and a colon (`cart.yaml`:) is that file's content. The commands of a page run in order in one folder, which begins as a copy of
what they need of the repository. Lines of progress are left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from svcsim.cli.main import run

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w./-]+\.(?:yaml|py|toml|txt))`[^`\n]*:\s*$")
_WORD = r"""(?:[^\s'"|;&<>()$`\\]|'[^']*'|"[^"$`\\]*")+"""
_PLAIN = re.compile(rf"(?P<call>svcsim(?: +{_WORD})*)(?: \| (?P<filter>[^;&|]+))?(?P<code>; echo \"exit code \$\?\")?")
"""A call of svcsim, perhaps with a filter of its output, perhaps with its exit code told."""
_PROGRESS = re.compile(r"^\d+ of \d+  .*requests\n", re.MULTILINE)
_GENERATED = re.compile(r"-[a-z0-9]{8,10}-[a-z0-9]{5}\b")
_FIGURE = re.compile(r"(?<![\w.])[+-]?\d[\d,.]*( ?(ns|µs|us|ms|s|min|h|%)(?![a-z]))?")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: where its body stands, and the file that it is, if it is one."""

    language: str
    body: str
    start: int
    file: str = ""


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks of a page, in order."""
    for match in _FENCED.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        named = _FILE.search(before)
        yield Block(match["language"], match["body"], match.start("body"), named[1] if named else "")


def commands_of(body: str) -> list[tuple[str, str]]:
    """(command, printed output) of each command of a console block."""
    found: list[tuple[str, str]] = []
    for line in body.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].rstrip("\n"), ""))
        else:
            command, output = found.pop()
            found.append((command, output + line))
    return found


class Stage:
    """A folder in which the commands of a page run, with a `svcsim` on the path that is this one.

    `svcsim` alone or before a pipe is called in this process, on one processor: what it prints is the same, and a process a
    command would take longer to start than most commands run. All else is the shell's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "svcsim"
        for name in ("scenarios", "docs/tutorial", "docs/dumps"):
            shutil.copytree(ROOT / name, self.folder / name)
        commands = folder / "bin"
        commands.mkdir()
        for name, call in (("svcsim", "-m svcsim"), ("python", "")):
            script = commands / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n', encoding="utf-8")
            script.chmod(0o755)
        self._settings = {"NO_COLOR": "1", "COLUMNS": "100", "LC_ALL": "C.UTF-8", "MPLBACKEND": "agg"}
        self._paths = {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def write(self, block: Block) -> None:
        """Write a block's file."""
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")

    def output(self, command: str) -> str:
        """What a command prints, errors among it."""
        plain = _PLAIN.fullmatch(command)
        if not plain:
            return _PROGRESS.sub("", self._of_shell(command))
        code, told, printed = self._of_call(shlex.split(plain["call"])[1:])
        if plain["filter"]:
            printed = self._of_shell(plain["filter"], printed)
        ended = f"exit code {code}\n" if plain["code"] else ""
        return _PROGRESS.sub("", told + printed) + ended

    def _of_shell(self, command: str, given: str | None = None) -> str:
        environment = {**os.environ, **self._settings, **self._paths}
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=environment, text=True, input=given, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False,
        )
        return done.stdout

    def _of_call(self, arguments: list[str]) -> tuple[int, str, str]:
        """(exit code, standard error, standard output)."""
        told, printed = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with (
            mock.patch.dict(os.environ, self._settings), mock.patch("os.cpu_count", return_value=1),
            contextlib.chdir(self.folder), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told),
        ):
            code = run(arguments)
        texts = []
        for stream in (told, printed):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
        return code, texts[0], texts[1]


def replayed(text: str, folder: Path) -> Iterator[tuple[str, str, str]]:
    """(command, output on the page, output now) of each command of a page."""
    stage = Stage(folder)
    for block in blocks_of(text):
        if block.file:
            stage.write(block)
        elif block.language == "console":
            for command, printed in commands_of(block.body):
                yield command, printed, stage.output(command)


def shape(output: str) -> str:
    """An output without figures and generated names: what must stay the same when a cost or the machine's arithmetic changes.

    >>> shape("iptables  5,616  100%  5.53 ms\\n")
    'iptables # # #'
    """
    text = _FIGURE.sub("#", _GENERATED.sub("-#", output))
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def refreshed(text: str, folder: Path) -> str:
    """The page with the outputs of now."""
    stage = Stage(folder)
    pieces: list[str] = []
    position = 0
    for block in blocks_of(text):
        if block.file:
            stage.write(block)
        elif block.language == "console":
            pieces.append(text[position : block.start])
            for command, _ in commands_of(block.body):
                pieces.append(f"$ {command}\n{stage.output(command)}")
            position = block.start + len(block.body)
    return "".join(pieces) + text[position:]


def main(names: list[str]) -> None:
    """Refresh pages by name."""
    for name in names:
        page = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(refreshed(page.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
