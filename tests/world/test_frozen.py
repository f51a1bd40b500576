"""A run looks for cycles before it begins, and leaves alone what its caller froze; where nobody froze, nothing stays frozen."""

import gc

import svcsim
from tests.world.small import small


def test_what_the_caller_froze_stays_frozen_and_nothing_else_does():
    gc.freeze()
    before = gc.get_freeze_count()
    svcsim.run_one(small(run__duration="1s"))
    assert 0 < 0.99 * before < gc.get_freeze_count() <= before
    gc.unfreeze()
    try:
        svcsim.run_one(small(run__duration="1s"))
        assert gc.get_freeze_count() == 0
        assert gc.isenabled()
    finally:
        gc.collect()
        gc.freeze()
