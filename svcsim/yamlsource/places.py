"""Data and where every part of it stood: lines and columns of keys and values, and paths for people."""

from __future__ import annotations

from dataclasses import dataclass, field

from svcsim.errors import Problem

DataPath = tuple[str | int, ...]
Position = tuple[int, int]
"""Line and column, both counted from 1."""
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
