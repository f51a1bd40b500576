"""A ring gives each member its share of keys, and moves only those of a member that goes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from svcsim.workload.hash_ring import HashRing


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=6, unique=True), st.data())
@budget(max_examples=40)
def test_only_the_keys_of_the_member_that_goes_have_another_one_afterwards(members, data):
    gone = data.draw(st.integers(0, len(members) - 1))
    before, after = HashRing(members), HashRing([each for place, each in enumerate(members) if place != gone])
    rest = [place for place in range(len(members)) if place != gone]
    for key in data.draw(st.lists(st.integers(0, 2**64 - 1), max_size=50)):
        if before.find(key) != gone:
            assert rest[after.find(key)] == before.find(key)


def test_members_have_about_equal_shares():
    ring = HashRing(range(1000, 1004))
    counts = Counter(ring.find(key << 48) for key in range(1 << 16))
    assert all(0.75 < count / (1 << 14) < 1.3 for count in counts.values())
