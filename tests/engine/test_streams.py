"""Draws are functions of (seed, stream, key)."""

import subprocess
import sys
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from svcsim.engine.streams import BLOCK_LENGTH, Stream, permuted


@given(st.integers(0, 2**40), st.integers(0, 2**62), st.integers(0, 100))
def test_a_draw_depends_on_its_key_and_not_on_what_was_drawn_before(seed, key, ordinal):
    fresh = Stream(seed, "a")
    used = Stream(seed, "a")
    for i in range(5):
        used.uniform(i)
    assert fresh.uniform(key, ordinal) == used.uniform(key, ordinal)
    assert 0.0 <= fresh.uniform(key, ordinal) < 1.0


def test_streams_of_other_names_and_seeds_differ():
    draws = {Stream(seed, name).uniform(1) for seed in (1, 2) for name in ("a", "b")}
    assert len(draws) == 4


def test_row_i_of_a_block_stream_belongs_to_sequence_number_i():
    rows = list(islice(Stream(3, "w").uniforms(3), BLOCK_LENGTH + 10))
    again = list(islice(Stream(3, "w").uniforms(3), BLOCK_LENGTH + 10))
    assert rows == again
    assert len(rows[0]) == 3
    assert len(set(rows)) == len(rows)


def test_draws_do_not_depend_on_the_hash_seed():
    program = "from svcsim.engine.streams import Stream; print(Stream(1, 'x').uniform(5), next(Stream(1, 'x').uniforms(2)))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@given(st.integers(0, 2**64 - 1), st.integers(1, 700))
def test_a_keyed_permutation_meets_every_place_once(key, length):
    assert sorted(permuted(key, i, length) for i in range(length)) == list(range(length))
