"""Outlier detection: which address is ejected when, for how long, and what that does for a client."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.results.records import Outcome, RecordWriter
from svcsim.units import MS, S
from svcsim.workload import distributions
from svcsim.workload.balancing import Balancing
from svcsim.workload.multiplexed import Multiplexing
from svcsim.workload.outliers import FailurePercentage, OutlierDetection, Outliers, SuccessRate
from svcsim.workload.server import ServerProfile
from tests.datapath.small_world import SmallWorld
from tests.workload.bench_of_clients import open_loop, rows, source_on, workload

FIVE = (1, 2, 3, 4, 5)
FAILURES = OutlierDetection(failure_percentage=FailurePercentage(0.5, 5, 10))


def counted(outliers, failures, at_ns, each=20):
    """Twenty requests to each of five addresses in the interval before `at_ns`; `failures` of those to the address fail."""
    for address in FIVE:
        for number in range(each):
            outliers.ended(address, FIVE, at_ns - 1, succeeded=number >= failures.get(address, 0))


def ejected(outliers, at_ns, targets=FIVE):
    return set(targets) - set(outliers.left(targets, at_ns))


def test_an_address_is_ejected_at_the_end_of_the_interval_in_which_too_many_requests_failed():
    outliers = Outliers(FAILURES, 0)
    counted(outliers, {2: 11}, 10 * S)
    assert ejected(outliers, 10 * S - 1) == set()
    assert ejected(outliers, 10 * S) == {2}


@pytest.mark.parametrize("failures", [{2: 10}, {2: 20}])
def test_the_threshold_itself_is_not_too_many_and_few_requests_say_nothing(failures):
    outliers = Outliers(FAILURES, 0)
    counted(outliers, failures, 10 * S, each=20 if failures[2] == 10 else 9)
    assert ejected(outliers, 10 * S) == set()


def test_one_is_ejected_in_any_case_and_no_more_than_the_share():
    wide = OutlierDetection(max_ejection=0.4, failure_percentage=FailurePercentage(0.5, 5, 10))
    narrow, wider = Outliers(FAILURES, 0), Outliers(wide, 0)
    for outliers in (narrow, wider):
        counted(outliers, dict.fromkeys((1, 3, 5), 20), 10 * S)
    assert ejected(narrow, 10 * S) == {1}
    assert ejected(wider, 10 * S) == {1, 3}


def test_an_ejection_lasts_the_base_time_and_longer_each_time():
    outliers = Outliers(FAILURES, 0)
    counted(outliers, {2: 20}, 10 * S)
    assert ejected(outliers, 10 * S) == {2}
    assert ejected(outliers, 40 * S) == {2}  # not yet after its 30 s
    assert ejected(outliers, 50 * S) == set()
    counted(outliers, {2: 20}, 60 * S)
    assert ejected(outliers, 60 * S) == {2}
    assert ejected(outliers, 120 * S) == {2}
    assert ejected(outliers, 130 * S) == set()


def test_intervals_without_an_ejection_make_the_next_one_shorter_again():
    outliers = Outliers(FAILURES, 0)
    counted(outliers, {2: 20}, 10 * S)
    assert ejected(outliers, 500 * S) == set()
    counted(outliers, {2: 20}, 510 * S)
    assert ejected(outliers, 540 * S) == {2}
    assert ejected(outliers, 550 * S) == set()


def test_by_success_rate_an_address_is_judged_by_the_others():
    rate = OutlierDetection(success_rate=SuccessRate(1.9, 5, 20))
    some, all_alike = Outliers(rate, 0), Outliers(rate, 0)
    counted(some, {4: 4}, 10 * S)  # two standard deviations below the mean of five
    counted(all_alike, dict.fromkeys(FIVE, 12), 10 * S)
    assert ejected(some, 10 * S) == {4}
    assert ejected(all_alike, 10 * S) == set()


def test_an_address_that_the_name_leads_to_no_longer_is_forgotten():
    outliers = Outliers(FAILURES, 0)
    counted(outliers, {2: 20}, 10 * S)
    assert ejected(outliers, 10 * S) == {2}
    assert ejected(outliers, 20 * S, (1, 3, 4, 5)) == set()
    assert ejected(outliers, 20 * S) == set()


@given(st.lists(st.tuples(st.sampled_from(FIVE), st.booleans(), st.integers(0, 4 * S)), max_size=150), st.floats(0, 1))
def test_there_is_always_an_address_left_and_never_more_out_than_the_share_or_one(requests, share):
    outliers = Outliers(OutlierDetection(
        interval_ns=1 * S, base_ejection_ns=3 * S, max_ejection=share, failure_percentage=FailurePercentage(0.3, 1, 1),
        success_rate=SuccessRate(0.5, 2, 1),
    ), 0)
    now = 0
    for address, succeeded, gap_ns in requests:
        now += gap_ns
        outliers.ended(address, FIVE, now, succeeded=succeeded)
        left = outliers.left(FIVE, now)
        assert left
        assert len(FIVE) - len(left) < max(1, share * len(FIVE)) + 1


# ---- with traffic ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", [{"keepalive": True}, {"multiplexing": Multiplexing()}], ids=["pool", "streams"])
def test_a_pod_that_fails_at_once_attracts_who_counts_until_it_is_ejected(sharing):
    def failing_share(outliers):
        world = SmallWorld(nodes=5, service_ns=50 * MS, workers=100)
        world.servers[3].profile = ServerProfile(distributions.constant(50 * MS), workers=0, queue_limit=0)
        source = source_on(world)
        source.targets = tuple(pod.address for pod in world.pods)
        policy = Balancing("least_request", outliers=outliers)
        load = workload(world, RecordWriter(), [source], balancing=policy, port=8080, **sharing)
        open_loop(load, world, 200, 20 * S)
        world.run(60 * S)
        requests = rows(load)
        late = requests.start_ns > 11 * S
        return float(np.mean(requests.outcome[late] == Outcome.SERVER_BUSY))

    assert failing_share(None) > 0.3  # its share would be a fifth: what is answered at once is never under way
    assert failing_share(FAILURES) == 0
