"""Objects are frozen while runs follow one another, and no longer."""

from __future__ import annotations

import gc

from svcsim.sweep.heap import settled


def test_what_stands_is_frozen_until_the_outermost_ends() -> None:
    gc.unfreeze()
    try:
        with settled():
            frozen = gc.get_freeze_count()
            assert frozen > 10_000
            with settled():
                pass
            assert 0 < gc.get_freeze_count() <= frozen
        assert gc.get_freeze_count() == 0
    finally:
        gc.collect()
        gc.freeze()
