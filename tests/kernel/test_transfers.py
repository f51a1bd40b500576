"""Long answers in this kernel and in svcsim: no round trip less than windows need, in either; nothing above that is asserted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.transfers import CASES, ROOT, lacking

NEW, AT_ONCE, AFTER_A_SECOND = range(3)


def test_the_kernel_needs_the_rounds_that_svcsim_says() -> None:
    if reason := lacking():
        pytest.skip(reason)
    case = CASES[0]
    words = [sys.executable, "-m", "benchmarks.transfers", "--rounds", "1", "--only", case.name]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    kernel, told = ([float(row[column]) for row in rows] for column in (1, 3))
    rtt_ms = case.wire.rtt_ms
    assert [round(ours / rtt_ms) for ours in told] == [3, 1, 3]  # 10, 20 and 40 segments; 80; and again from ten
    assert kernel[NEW] > 2.9 * rtt_ms
    assert kernel[AT_ONCE] > 0.9 * rtt_ms
    assert kernel[AFTER_A_SECOND] > 2.9 * rtt_ms
