"""A run waits for what its own scenario makes last: long time-outs, and packets on slow links."""

import pytest

from svcsim.results.records import Outcome
from svcsim.world.world import STILL_ON_A_LINK
from tests.world.laws import conserved
from tests.world.small import see
from tests.world.test_services import UDP

SLOWLY = {"workloads__0__arrivals": {"constant": "100/s"}, "run__duration": "3s"}


def test_requests_may_wait_longer_than_an_hour_if_their_time_out_says_so():
    hung = {"at": "1s", "hang": "deployment/web"}
    seen = see(hung, workloads__0__timeout="2h", **SLOWLY)
    conserved(seen.result)
    assert seen.outcomes(1.1) == {Outcome.REQUEST_TIMEOUT: seen.failed(1.1)}


@pytest.mark.parametrize(("bandwidth", "left"), [("10kbit/s", False), ("1bit/s", True)])
def test_datagrams_that_wait_for_a_slow_link_are_counted(bandwidth, left):
    result = see(text=UDP, cluster__network={"bandwidth": bandwidth}, **SLOWLY).result
    conserved(result)
    assert Outcome.REQUEST_TIMEOUT in set(result.requests.outcome)
    assert (STILL_ON_A_LINK in result.counters.packets_dropped) == left
