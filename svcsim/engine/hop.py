"""The request is the event: an object that SimPy schedules itself, with its next step.

SimPy's `Environment.step()` reads two things of an event: `callbacks`, which it sets to None before it calls each of them
with the event, and `_ok`; so does the loop of `svcsim.engine.environment`, through which a run goes. A `Hop` has just these, so
a packet's next step is one heap entry and no object more. The rule that follows: a hop has at most one pending entry, and
whoever schedules it sets `callbacks` to the (prebuilt, one-element) tuple of its next step first. This rests on reading SimPy
4.1's `core.py`; `tests/engine/test_hop.py` guards it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = tuple[Callable[[Any], None], ...]


class Hop:
    """Base of everything that is scheduled by itself."""

    __slots__ = ("callbacks",)

    _ok = True
    callbacks: Step | None

    def __init__(self) -> None:
        self.callbacks = None
