"""Request records: what is written comes back, in order, and the parts of a latency sum to it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.errors import SimulationError
from svcsim.results.records import BLOCK_ROWS, COLUMNS, PARTS, ROW_BYTES, Outcome, RecordWriter, Requests

Row = tuple[int, ...]


def a_row(sequence: int, parts: tuple[int, ...] = (0, 0, 0, 1, 2, 3, 4, 5), outcome: int = 0) -> Row:
    return (0, sequence, sequence * 10, sum(parts), *parts, outcome, 1, 2, 0, 1, 7, 1)


def written(rows: list[Row]) -> Requests:
    writer = RecordWriter()
    for row in rows:
        writer.row(*row)
    return writer.columns()


uint16 = st.integers(0, 2**16 - 1)
uint32 = st.integers(0, 2**32 - 1)
index = st.integers(-1, 2**31 - 1)
part = st.integers(0, 2**58)
rows = st.builds(
    lambda workload, sequence, start, parts, rest: (workload, sequence, start, sum(parts), *parts, *rest),
    uint16, uint32, st.integers(0, 2**62), st.tuples(*[part] * len(PARTS)),
    st.tuples(st.sampled_from(list(Outcome)).map(int), uint16, index, index, index, uint32, uint16),
)
WRITTEN_ORDER = ("workload", "sequence", "start_ns", "latency_ns", *PARTS, "outcome", "attempts", "endpoint",
                 "client_node", "server_node", "rules", "flags")


@given(st.lists(rows, max_size=20))
def test_what_is_written_is_read_back(given_rows: list[Row]) -> None:
    requests = written(given_rows)
    assert len(requests) == len(given_rows)
    read = list(zip(*(requests.column(name).tolist() for name in WRITTEN_ORDER), strict=True))
    assert read == given_rows
    requests.check_conservation()


@pytest.mark.parametrize("count", [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS])
def test_rows_keep_their_order_across_blocks(count: int) -> None:
    writer = RecordWriter()
    for sequence in range(count):
        assert len(writer) == sequence
        writer.row(*a_row(sequence))
    assert len(writer) == count
    assert writer.columns().sequence.tolist() == list(range(count))
    assert len(writer) == count


def test_the_columns_are_handed_over_once_and_then_no_row_is_taken() -> None:
    writer = RecordWriter()
    writer.row(*a_row(0))
    requests = writer.columns()
    assert writer.columns() is requests
    with pytest.raises(SimulationError, match="handed over"):
        writer.row(*a_row(1))


def test_a_part_that_is_missing_is_found() -> None:
    good = a_row(0)
    broken = (*good[:3], good[3] + 1, *good[4:])
    with pytest.raises(SimulationError, match=r"do not sum .* in 1 of 2 requests.*latency_ns=16"):
        written([good, broken]).check_conservation()


def test_a_negative_part_is_found() -> None:
    with pytest.raises(SimulationError, match="queue_ns is negative"):
        written([a_row(0, (0, 0, 0, 1, 5, -3, 4, 5))]).check_conservation()


def test_an_unknown_outcome_is_found() -> None:
    with pytest.raises(SimulationError, match="outcome"):
        written([a_row(0, outcome=200)]).check_conservation()


def test_a_client_that_was_gone_neither_succeeded_nor_failed() -> None:
    requests = written([a_row(0), a_row(1, outcome=Outcome.REFUSED), a_row(2, outcome=Outcome.CLIENT_GONE)])
    assert requests.succeeded.tolist() == [True, False, False]
    assert requests.failed.tolist() == [False, True, False]


def test_a_window_takes_its_start_and_not_its_end() -> None:
    requests = written([a_row(sequence) for sequence in range(6)])
    assert requests.during(10, 30).sequence.tolist() == [1, 2]
    assert requests.during(None, 20).sequence.tolist() == [0, 1]
    assert requests.during(40, None).sequence.tolist() == [4, 5]
    assert requests.during(None, None) is requests


def test_a_selection_of_a_selection_reads_the_right_rows() -> None:
    requests = written([a_row(sequence) for sequence in range(10)])
    even = requests.select(requests.sequence % 2 == 0)
    chosen = even.select(np.array([3, 1]))
    assert chosen.sequence.tolist() == [6, 2]
    assert chosen.end_ns.tolist() == [75, 35]
    assert len(chosen) == 2


def test_runs_can_be_pooled() -> None:
    pooled = Requests.concatenate([written([a_row(0)]), written([a_row(1), a_row(2)])])
    assert pooled.sequence.tolist() == [0, 1, 2]
    assert len(Requests.concatenate([])) == 0


def test_columns_of_different_length_are_refused() -> None:
    columns = {name: np.zeros(3, np.int64) for name in COLUMNS}
    with pytest.raises(ValueError, match="differ in length"):
        Requests({**columns, "rules": np.zeros(2, np.int64)})
    del columns["rules"]
    with pytest.raises(ValueError, match="rules"):
        Requests(columns)


def test_every_outcome_has_words_and_a_key_of_its_own() -> None:
    assert len({outcome.words for outcome in Outcome}) == len(Outcome)
    assert Outcome.CONNECT_TIMEOUT.key == "connect_timeout"


def test_pandas_gets_the_columns_and_the_outcomes_by_name() -> None:
    pytest.importorskip("pandas")
    frame = written([a_row(0), a_row(1, outcome=Outcome.RESET)]).to_pandas()
    assert frame["outcome"].tolist() == ["ok", "reset"]
    assert frame["latency_ns"].tolist() == [15, 15]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of resident memory from /proc")
def test_rows_and_columns_never_stand_beside_each_other_whole() -> None:
    count = 300_000
    script = f"""
from pathlib import Path
from svcsim.results.records import RecordWriter
def peak_bytes():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
writer = RecordWriter()
before = peak_bytes()
for sequence in range({count}):
    writer.row(*{a_row(1)!r})
writer.columns()
print(peak_bytes() - before)
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert count * ROW_BYTES <= int(run.stdout) < count * 150
