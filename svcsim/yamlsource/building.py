"""Documents from a parser's events: without recursion, each limit checked as it is met."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from svcsim.errors import Problem
from svcsim.yamlsource.places import Document, Marks, Position, path_text
from svcsim.yamlsource.scalars import NULL, kind_of, resolved

MAX_NODES = 4_000_000
MAX_DEPTH = 64
MAX_ALIASED_NODES = 100_000
MAX_DOCUMENTS = 50_000
MAX_PROBLEMS = 50
_TAG = "tag:yaml.org,2002:"


class Stopped(Exception):
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


class Builder:
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
            raise Stopped

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
            elif plain and event.value in NULL:
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
            if kind_of(value) == kind or (kind == "float" and isinstance(value, int) and not isinstance(value, bool)):
                return value
            self.fail(at, f"{text[:40]!r} is no !!{kind}")
            return None
        self.fail(at, f"the tag {_tag_text(tag)} is not allowed (plain mappings, lists and values only)")
        return None
    def _resolved(self, text: str, at: Position) -> object:
        try:
            return resolved(text)
        except ValueError as error:
            self.fail(at, str(error))
            return 0


def _tag_text(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)[:40]}" if tag.startswith(_TAG) else tag[:40]


def _place(event: yaml.Event) -> Position:
    mark = event.start_mark
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
