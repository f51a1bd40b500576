"""Files that a command writes beside what it prints: asked for before a long run, written after it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import click

from svcsim.errors import UsageError
from svcsim.results.whole import check_writable


def check_place(path: Path) -> None:
    """UsageError if no file can be written there; `-` is standard output."""
    if str(path) == "-":
        return
    if not path.parent.is_dir():
        raise UsageError(f"can't write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"can't write {path}: it is a folder")
    if not os.path.lexists(path):
        check_writable(path)
    elif not os.access(path, os.W_OK):
        raise UsageError(f"can't write {path}: {os.strerror(errno.EACCES)}")


def write_text(path: Path, text: str) -> None:
    """Write a text to a file or, for `-`, to standard output."""
    if str(path) == "-":
        click.echo(text.rstrip("\n"))
        return
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files need not be text
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from None
