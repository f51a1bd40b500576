"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from svcsim.errors import UsageError


def check_free(path: Path) -> None:
    """UsageError if something stands where a folder is to go, or none can be made there; asked before a run, not after it."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already: remove it, or give another folder with --out")
    check_writable(path)


def check_writable(path: Path) -> None:
    """UsageError if nothing can be made at a path where nothing is, found out by making an empty folder there for a moment."""
    made: list[Path] = []
    try:
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir():
            raise UsageError(f"can't write {path}: {above} is no folder")
        # The first name that is missing, since the system may take a folder and not a name of that length below it.
        beside = above / f".{path.absolute().relative_to(above).parts[0]}.{os.getpid()}.unfinished"
        beside.mkdir()
        made.append(beside)
    except OSError as error:
        raise UsageError(f"can't write {path}: {error.strerror or error}") from None
    finally:
        for folder in made:
            folder.rmdir()


def write_whole(
    target: Path,
    fill: Callable[[Path], None],
    *,
    otherwise: Callable[[], Path] | None = None,
    replace: bool = False,
) -> Path:
    """Let `fill` write into a hidden sibling, give it the target's name when it is complete, and return that.

    If something took the name meanwhile, `otherwise` gives another one; without it that is a UsageError. With `replace`
    what stood there goes when the new folder has its name. Whatever interrupts it leaves nothing half.
    """
    if otherwise is None and not replace:
        check_free(target)
    unfinished = target.parent / f".{target.name}.{os.getpid()}.unfinished"
    replaced = target.parent / f".{target.name}.{os.getpid()}.replaced"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.mkdir()
        fill(unfinished)
        if replace and target.exists():
            target.rename(replaced)
        while True:
            try:
                # A rename onto a folder that isn't empty fails: of two runs that end together none loses its results.
                unfinished.rename(target)
                return target
            except OSError:
                if otherwise is None or not target.exists():
                    raise
                target = otherwise()
    except OSError as error:
        raise UsageError(f"can't write {target}: {error.strerror or error}") from None
    finally:
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
