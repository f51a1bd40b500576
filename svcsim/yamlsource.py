"""YAML and JSON text as plain data that remembers where everything stood.

The data holds dict, list, str, int, float, bool and None, nothing else: no tag makes an object. Scalars follow the core schema
of YAML 1.2, so `on`, `no`, `1:30` and `2024-01-01` stay strings. Text is read as a stream of events and built without
recursion, each limit is checked while it is read, so hostile input ends in an `InputError` after bounded work: duplicate keys,
alias bombs, deep nesting, huge files and numbers, NaN and infinities, binary data.

>>> [document] = parse("a:\\n  b: [1, yes]", "x.yaml")
>>> document.root, document.position(("a", "b", 1))
({'a': {'b': [1, 'yes']}}, (2, 10))
"""

from __future__ import annotations

import codecs
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from svcsim.errors import InputError, Problem, UsageError

MAX_FILE_BYTES = 64 * 2**20
MAX_NODES = 4_000_000
MAX_DEPTH = 64
MAX_ALIASED_NODES = 100_000
MAX_INTEGER = 2**63 - 1
MAX_DOCUMENTS = 50_000
MAX_PROBLEMS = 50

DataPath = tuple[str | int, ...]
Position = tuple[int, int]
"""Line and column, both counted from 1."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATES = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)


class WrittenFloat(float):
    """A float that knows how it was written, for what is a version to a person and a number to YAML: `1.30`."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> WrittenFloat:  # noqa: D102
        value = super().__new__(cls, text)
        value.text = text
        return value

    def __reduce__(self) -> tuple[type[WrittenFloat], tuple[str]]:
        return (WrittenFloat, (self.text,))


Marks = dict[str | int, tuple[Position, Position]]
"""Of each key or index of a container: where the key stands and where the value stands."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its data and where every part of it stands."""

    name: str
    root: object
    start: Position
    marks: dict[int, Marks] = field(repr=False)

    def _place(self, path: DataPath) -> tuple[Position, Position]:
        value, place = self.root, (self.start, self.start)
        for step in path:
            found = self.marks.get(id(value), {}).get(step)
            if found is None:
                break
            place = found
            value = value[step]  # type: ignore[index]
        return place

    def position(self, path: DataPath) -> Position:
        """Where the value at a path stands; that of its nearest ancestor where the path leads nowhere."""
        return self._place(path)[1]

    def key_position(self, path: DataPath) -> Position:
        """Where the key of the value at a path stands (of a list item: the item)."""
        return self._place(path)[0]

    def problem(self, path: DataPath, message: str, *, at_key: bool = False) -> Problem:
        """A mistake at a path."""
        line, column = self.key_position(path) if at_key else self.position(path)
        return Problem(self.name, line, column, path_text(path), message)


def path_text(path: DataPath) -> str:
    """A path for a person: `spec.ports[0].name`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not step or set(step) & set(".[] "):
            text += f"[{step!r}]"
        else:
            text += f".{step}" if text else step
    return text


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


def load(path: str | Path, minor: list[Problem] | None = None) -> list[Document]:
    """All documents of a YAML or JSON file that are not empty; see `read` and `parse` for the errors."""
    source = read(path)
    return parse(source.text, source.name, minor)


def _is_tab(text: str, line: int, column: int) -> bool:
    """Whether a tab stands at that place, with nothing but blanks before it."""
    lines = text.split("\n")
    found = lines[line] if line < len(lines) else ""
    return found[column : column + 1] == "\t" and not found[:column].strip()


_BRACKETED = re.compile(r"[\w./-]+\[[\w*]+\]", re.ASCII)


def _bracketed(text: str, line: int, column: int) -> str:
    """The plain value with brackets, as `deployment/web[1]`, that was written up to that place; empty if there is none."""
    lines = text.split("\n")
    found = lines[line] if line < len(lines) else ""
    return next((match.group() for match in _BRACKETED.finditer(found) if match.start() < column <= match.end()), "")


def parse(text: str, name: str, minor: list[Problem] | None = None) -> list[Document]:
    """All documents of a text that are not empty. InputError with every mistake that could be told apart; never another error.

    Mistakes that leave the structure intact, such as a number too large or a key that stands twice, are added to the list
    `minor` if there is one, so that the caller can go on to find others; otherwise they raise as all do.
    """
    if text.lstrip()[:1] in {"{", "["}:
        text = _SURROGATES.sub(_joined, text)
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        message = ", ".join(part for part in (error.context, error.problem) if part)
        if mark is not None and _is_tab(text, mark.line, mark.column):
            message = "a tab cannot indent; use spaces"
        elif mark is not None and (written := _bracketed(text, mark.line, mark.column)):
            message = f"a value with brackets stands in quotes here: '{written}'"
        builder.broken(place, f"not valid YAML: {message}")
    except yaml.YAMLError as error:
        builder.broken((1, 1), f"not valid YAML: {str(error).splitlines()[0]}")
    except _Stopped:
        builder.whole = False
    if builder.problems and (minor is None or not builder.whole):
        raise InputError(builder.problems)
    if minor is not None:
        minor += builder.problems
    if not builder.documents:
        raise InputError([Problem(name, 1, 1, "", "the file is empty")])
    return builder.documents


def scalar(text: str) -> object:
    """What a value on the command line means: `4` a number, `true` a boolean, `[a, b]` a list, `null` nothing, all else text."""
    if text.strip() in _NULL:
        return None
    try:
        documents = parse(text, "value")
    except InputError:
        return text
    return documents[0].root if len(documents) == 1 else text


def _joined(match: re.Match[str]) -> str:
    high, low = int(match.group(1), 16), int(match.group(2), 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


class _Stopped(Exception):
    """Reading ends here: what follows can't be understood or is not worth the work."""


@dataclass(slots=True, eq=False)
class _Frame:
    """A container that is not complete yet."""

    value: dict[str, object] | list[object]
    start: Position
    anchor: str | None
    marks: Marks
    key: str | None = None
    key_at: Position = (1, 1)
    merges: bool = False
    size: int = 1
    height: int = 1
    merged: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: object
    size: int
    height: int
    at: Position


class _Builder:
    """Builds documents from events."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._marks: dict[int, Marks] = {}
        self._nodes = 0
        self._aliased = 0
        self._root: object = None
        self._start: Position = (1, 1)
        self.whole = True
        """Whether the text was read to its end."""

    def broken(self, at: Position, message: str) -> None:
        """Note a mistake after which nothing can be understood."""
        self.whole = False
        self.problems.append(Problem(self.name, at[0], at[1], "", message))

    def fail(self, at: Position, message: str, *, stop: bool = False) -> None:
        """Note a mistake."""
        path: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.value, list):
                path.append(len(frame.value))
            elif frame.key is not None:
                path.append(frame.key)
        self.problems.append(Problem(self.name, at[0], at[1], path_text(tuple(path)), message))
        if stop or len(self.problems) >= MAX_PROBLEMS:
            raise _Stopped

    def take(self, event: yaml.Event) -> None:
        """The next event of the parser."""
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors, self._marks, self._root = {}, {}, None
        elif isinstance(event, yaml.DocumentEndEvent):
            if self._root is not None:
                self.documents.append(Document(self.name, self._root, self._start, self._marks))
            if len(self.documents) > MAX_DOCUMENTS:
                self.fail(_place(event), f"more than {MAX_DOCUMENTS} documents in one file", stop=True)

    def _count(self, at: Position) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self.fail(at, f"more than {MAX_NODES} values in one file", stop=True)

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        at = _place(event)
        self._count(at)
        if len(self._stack) >= MAX_DEPTH:
            self.fail(at, f"nested deeper than {MAX_DEPTH} levels", stop=True)
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in {None, "!", _TAG + ("map" if mapping else "seq")}:
            self.fail(at, f"the tag {_tag_text(event.tag)} is not allowed (plain mappings, lists and values only)")
        if self._awaits_key():
            self.fail(at, "a mapping or list cannot be a key", stop=True)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        marks: Marks = {}
        self._stack.append(_Frame({} if mapping else [], at, event.anchor, marks))

    def _close(self) -> None:
        frame = self._stack.pop()
        value = frame.value
        for merged in frame.merged:
            self._merge(frame, merged)
        self._marks[id(value)] = frame.marks
        if frame.anchor is not None:
            self._anchors[frame.anchor] = _Anchored(value, frame.size, frame.height, frame.start)
        self._put(value, frame.start, frame.size, frame.height)

    def _merge(self, frame: _Frame, merged: object) -> None:
        for source in merged if isinstance(merged, list) else [merged]:
            if not isinstance(source, dict):
                self.fail(frame.start, "'<<' merges mappings only")
                continue
            marks = self._marks[id(source)]
            for key, value in source.items():
                if isinstance(frame.value, dict) and key not in frame.value:
                    frame.value[key] = value
                    frame.marks[key] = marks[key]

    def _alias(self, event: yaml.AliasEvent) -> None:
        at = _place(event)
        self._count(at)
        name = event.anchor or ""
        if name not in self._anchors:
            self.fail(at, f"the alias *{name} refers to nothing above it", stop=True)
        anchored = self._anchors[name]
        if anchored is None:
            self.fail(at, f"the alias *{name} stands inside what it refers to", stop=True)
            return
        if self._awaits_key() and not isinstance(anchored.value, str):
            self.fail(at, "only text can be a key", stop=True)
        self._aliased += anchored.size
        if self._aliased > MAX_ALIASED_NODES:
            self.fail(at, f"aliases stand for more than {MAX_ALIASED_NODES} values", stop=True)
        if len(self._stack) + anchored.height > MAX_DEPTH:
            self.fail(at, f"nested deeper than {MAX_DEPTH} levels", stop=True)
        if self._awaits_key():
            self._take_key(str(anchored.value), at)
        else:
            self._put(anchored.value, at, anchored.size, anchored.height)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        at = _place(event)
        self._count(at)
        if self._awaits_key():
            if event.anchor is not None:
                self._anchors[event.anchor] = _Anchored(event.value, 1, 0, at)
            plain = event.implicit[0] and not event.style
            if plain and event.value == "<<":
                frame = self._stack[-1]
                frame.key, frame.key_at, frame.merges = "<<", at, True
            elif plain and event.value in _NULL:
                self.fail(at, "a key is missing before the colon", stop=True)
            else:
                self._take_key(event.value, at)
            return
        value = self._value(event, at)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(value, 1, 0, at)
        self._put(value, at, 1, 0)

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _take_key(self, key: str, at: Position) -> None:
        frame = self._stack[-1]
        frame.key, frame.key_at = key, at
        first = frame.marks.get(key)
        if first is not None:
            self.fail(at, f"the key {key[:60]!r} stands twice in this mapping (first in line {first[0][0]})")

    def _put(self, value: object, at: Position, size: int, height: int) -> None:
        if not self._stack:
            self._root, self._start = value, at
            return
        frame = self._stack[-1]
        frame.size += size
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.value, list):
            frame.marks[len(frame.value)] = (at, at)
            frame.value.append(value)
            return
        key, frame.key = frame.key or "", None
        if frame.merges:
            frame.merges = False
            frame.merged.append(value)
            return
        frame.value[key] = value
        frame.marks[key] = (frame.key_at, at)

    def _value(self, event: yaml.ScalarEvent, at: Position) -> object:
        text: str = event.value
        tag = event.tag
        if tag is None:
            return self._resolved(text, at) if event.implicit[0] else text
        kind = tag.removeprefix(_TAG)
        if tag in {"!", _TAG + "str"}:
            return text
        if kind in {"null", "bool", "int", "float"} and tag.startswith(_TAG):
            value = self._resolved(text, at)
            if _kind_of(value) == kind or (kind == "float" and isinstance(value, int) and not isinstance(value, bool)):
                return value
            self.fail(at, f"{text[:40]!r} is no !!{kind}")
            return None
        self.fail(at, f"the tag {_tag_text(tag)} is not allowed (plain mappings, lists and values only)")
        return None

    def _resolved(self, text: str, at: Position) -> object:
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            digits = len(text.lstrip("+-0"))
            value = int(text, 0 if text[:2] in {"0x", "0o"} else 10) if digits <= 40 else MAX_INTEGER + 1
            if abs(value) > MAX_INTEGER:
                self.fail(at, f"the number {text[:20]}… is beyond the limit of {MAX_INTEGER}")
                return 0
            return value
        if _FLOAT.fullmatch(text):
            number = WrittenFloat(text)
            if math.isfinite(number):
                return number
            self.fail(at, f"the number {text[:20]} is too large")
            return 0
        if _NOT_FINITE.fullmatch(text):
            self.fail(at, f"{text} is not a number to compute with")
            return 0
        return text


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "bool", int: "int", WrittenFloat: "float"}.get(type(value), "str")


def _tag_text(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)[:40]}" if tag.startswith(_TAG) else tag[:40]


def _place(event: yaml.Event) -> Position:
    mark = event.start_mark
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def mappings(documents: list[Document]) -> Iterator[Document]:
    """The documents whose root is a mapping; InputError with all others."""
    wrong = [document.problem((), "a mapping is expected here") for document in documents if not isinstance(document.root, dict)]
    if wrong:
        raise InputError(wrong)
    yield from documents


def reads_as_text(text: str) -> bool:
    """Whether a plain scalar of this text would be read as a string."""
    return text not in _NULL and text not in _BOOL and not any(
        pattern.fullmatch(text) for pattern in (_INT, _FLOAT, _NOT_FINITE)
    )
