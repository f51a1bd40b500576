"""The moment at which a command looks at a scenario: reading it, and letting time pass up to it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from svcsim.errors import UsageError

if TYPE_CHECKING:
    from svcsim.world.world import World

_PATIENCE_S = 1.0


def instant(option: str, text: str) -> int:
    """The time that an option names, in ns since the start of the run; UsageError for what is no time."""
    from svcsim.units import duration_ns

    try:
        return duration_ns(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def pass_time(world: World, at_ns: int, option: str = "--at") -> World:
    """Let a world that was built go on until then, and say on a terminal how far it is where that takes long.

    UsageError for a time after the end of the run: faults and traffic go no further, so nothing would happen any more.
    """
    from svcsim.units import duration_text

    end_ns = world.scenario.run.duration_ns
    if at_ns > end_ns:
        raise UsageError(
            f"{option} {duration_text(at_ns)} is after the end of the run at {duration_text(end_ns)} (see run.duration)"
        )
    if not at_ns:
        return world
    from svcsim.report.progress import Progress

    with Progress(1, at_ns, stream=sys.stderr, patience_s=_PATIENCE_S) as progress:
        world.advance(at_ns, lambda ended, now_ns: progress.update(world.label, ended, now_ns))
    return world
