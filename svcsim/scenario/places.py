"""Where the parts of a scenario stand, also those that an override or a comparison put there."""

from __future__ import annotations

from dataclasses import dataclass, field

from svcsim.errors import Problem
from svcsim.yamlsource import DataPath, Document, path_text


@dataclass(frozen=True, slots=True)
class Overlay:
    """A value that does not stand where it belongs: data at `path` comes from `source` in the document, or from `named`."""

    path: DataPath
    source: DataPath = ()
    named: str = ""
    """Such as `--set kubernetes.proxy.mode=x`, instead of a place in the document."""


@dataclass(frozen=True, slots=True)
class Places:
    """The document of a scenario with what was laid over it, the latest last."""

    document: Document
    overlays: tuple[Overlay, ...] = ()
    moved: dict[int, tuple[Document, DataPath]] = field(default_factory=dict)
    """Of each manifest that comes from another document: where it stands."""

    def problem(self, path: DataPath, message: str, *, at_key: bool = False) -> Problem:
        """A mistake at a path of the data."""
        for overlay in reversed(self.overlays):
            if path[: len(overlay.path)] != overlay.path and overlay.path[: len(path)] != path:
                continue
            if path[: len(overlay.path)] != overlay.path and overlay.named:
                continue  # the mistake is of a whole of which the override is only a part
            if overlay.named:
                return Problem(overlay.named, 1, 1, path_text(path), message)
            rest = path[len(overlay.path) :]
            found = self.document.problem(overlay.source + rest, message, at_key=at_key and bool(rest))
            if overlay.path != path and not rest:
                found = Problem(found.file, found.line, found.column, found.path, f"{path_text(path)}: {message}")
            return found
        return self.document.problem(path, message, at_key=at_key)

    def laid_over(self, overlay: Overlay) -> Places:
        """The same with one more overlay."""
        return Places(self.document, (*self.overlays, overlay), self.moved)

    def line(self, path: DataPath) -> int:
        """The line of a path."""
        return self.problem(path, "").line
