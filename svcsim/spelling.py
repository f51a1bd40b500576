"""The nearest valid name for one that isn't."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONG_ENOUGH = 4
WITHIN = 3
"""So many names that contain the word are proposed, if it has that many letters."""


def nearest(name: str, valid: Iterable[str], *, listed: int = 8) -> str:
    """The end of an error message: ` (did you mean 'x'?)`, the valid names if they are few, or nothing."""
    names = sorted(set(valid))
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    if 0 < len(names) <= listed:
        return f" (valid: {', '.join(names)})"
    within = [each for each in names if len(name) >= LONG_ENOUGH and name.lower() in each.lower()][:WITHIN]
    if within:
        return f" (did you mean {' or '.join(map(repr, within))}?)"
    return ""
