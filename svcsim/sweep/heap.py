"""What stands before many runs begin is kept out of the looks for cycles between them.

Before a run the garbage collector looks for worlds that nobody needs any more (`World.run`). Modules, models and earlier results
are a hundred thousand objects and more that it would go through each time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def settled() -> Iterator[None]:
    """Keep what there is out of collections until the end, unless the caller does so already."""
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()
