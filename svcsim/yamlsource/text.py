"""Bytes to text: UTF-8, or what a byte order mark says, up to a limit."""

from __future__ import annotations

import codecs
import sys
from dataclasses import dataclass
from pathlib import Path

from svcsim.errors import InputError, Problem, UsageError

MAX_FILE_BYTES = 64 * 2**20

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a file, and the name under which messages speak of it."""

    name: str
    text: str


def read(path: str | Path) -> Text:
    """The text of a file, `-` for standard input. UsageError if it can't be read, InputError if it is no text."""
    if str(path) == "-":
        return Text("<stdin>", decode(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "<stdin>"))
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot read {path}: {reason}") from None
    return Text(str(path), decode(data, str(path)))


def decode(data: bytes, name: str) -> str:
    """The text of bytes: UTF-8, or UTF-16 and UTF-32 with a byte order mark."""
    if len(data) > MAX_FILE_BYTES:
        raise InputError([Problem(name, 1, 1, "", f"the file is larger than the limit of {MAX_FILE_BYTES // 2**20} MiB")])
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise InputError([Problem(name, line, column, "", "not a text file (its bytes are not UTF-8)")]) from None
    at = text.find("\0")
    if at >= 0:
        before_text = text[:at]
        line, column = before_text.count("\n") + 1, at - before_text.rfind("\n")
        raise InputError([Problem(name, line, column, "", "not a text file (it holds a NUL byte)")])
    return text
