"""What the gate of `svcsim check` is said to see, in small; `python -m benchmarks.gate` has it at length."""

from __future__ import annotations

from benchmarks.gate import golden


def test_golden_sees_a_tenth_more_of_any_cost_that_is_used() -> None:
    told = list(golden(("nftables",)))
    assert len(told) == 1, told
    tried, caught = (int(word) for word in told[0].split() if word.isdigit())
    assert tried == caught > 10
