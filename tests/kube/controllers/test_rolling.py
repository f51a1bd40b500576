"""How a roll-out goes on. Cases from kubernetes pkg/controller/deployment (rolling_test.go, sync_test.go)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.kube.api.pod import Pod
from svcsim.kube.controllers.replicas import deletion_order
from svcsim.kube.controllers.rolling import Revision, Target, fenceposts, first_replicas, plan
from svcsim.units import S


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [(None, None, 3, (1, 0)), (None, None, 10, (3, 2)), ("0%", "0%", 10, (0, 1)), (0, 0, 1, (0, 1)), (2, "50%", 5, (2, 2)),
     ("25%", 0, 2, (1, 0)), ("100%", "0%", 4, (4, 0))],
)
def test_surge_rounds_up_and_unavailable_down_and_one_of_them_is_never_nothing(surge, unavailable, replicas, expected):
    assert fenceposts(surge, unavailable, replicas) == expected


@pytest.mark.parametrize(
    ("replicas", "surge", "old", "new", "expected"),
    [(10, 0, 10, 0, 0), (10, 2, 10, 0, 2), (10, 2, 5, 0, 7), (10, 2, 10, 2, 2)],
)
def test_the_new_replica_set_grows_as_far_as_the_surge_allows(replicas, surge, old, new, expected):
    target = Target(replicas, surge, 1)
    sizes = plan(target, Revision("new", new, new, replicas), [Revision("old", old, old, replicas)])
    assert sizes.get("new", new) == expected


@pytest.mark.parametrize(
    ("max_unavailable", "old", "old_ready", "new", "new_ready", "expected"),
    [(0, 10, 10, 0, 0, 10), (2, 10, 10, 0, 0, 8), (2, 10, 8, 0, 0, 8), (2, 10, 9, 0, 0, 8), (2, 10, 10, 2, 0, 8),
     (0, 10, 8, 2, 2, 8), (2, 8, 8, 2, 0, 8)],
)
def test_old_replica_sets_shrink_as_far_as_the_new_one_has_become_available(
    max_unavailable, old, old_ready, new, new_ready, expected
):
    target = Target(10, 0 if old + new == 10 else 2, max_unavailable)
    sizes = plan(target, Revision("new", new, new_ready, 10), [Revision("old", old, old_ready, 10)])
    assert sizes.get("old", old) == expected


def test_pods_that_are_not_available_go_first():
    target = Target(4, 0, 1)
    old = [Revision("healthy", 2, 2, 4, 1), Revision("broken", 2, 0, 4, 2)]
    assert plan(target, Revision("new", 0, 0, 4, 3), old) == {"broken": 1}


def test_a_recreate_waits_for_the_last_old_pod():
    target = Target(3, 0, 3, recreate=True)
    old = [Revision("old", 3, 3, 3)]
    assert plan(target, None, old) == {"old": 0}
    gone = [Revision("old", 0, 0, 3)]
    assert plan(target, Revision("new", 0, 0, 3), gone, old_pods_left=True) == {}
    assert plan(target, Revision("new", 0, 0, 3), gone) == {"new": 3}
    assert first_replicas(target, gone) == 3


def test_scaling_in_the_middle_of_a_roll_out_is_shared_in_proportion():
    target = Target(20, 2, 2)
    sizes = plan(target, Revision("new", 4, 2, 10, 2), [Revision("old", 8, 8, 10, 1)])
    assert sizes == {"old": 15, "new": 7}
    assert sum(sizes.values()) == 22


def test_scaling_a_settled_deployment_is_the_only_replica_sets_affair():
    assert plan(Target(5, 1, 1), Revision("new", 3, 3, 3), [Revision("old", 0, 0, 3)]) == {"new": 5}
    assert plan(Target(0, 0, 0), Revision("new", 3, 3, 3), []) == {"new": 0}


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 12), st.integers(0, 4), st.integers(0, 4), st.data(),
)
def test_a_roll_out_stays_within_its_bounds_and_ends_whatever_the_order_in_which_pods_become_available(
    replicas, surge, unavailable, data
):
    unavailable = min(unavailable, replicas)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    target = Target(replicas, surge, unavailable)
    old, old_ready, new, new_ready = replicas, replicas, first_replicas(target, [Revision("old", replicas)]), 0
    for _ in range(200):
        sizes = plan(target, Revision("new", new, new_ready, replicas, 2), [Revision("old", old, old_ready, replicas, 1)])
        new, old = sizes.get("new", new), sizes.get("old", old)
        old_ready = min(old_ready, old)
        assert new + old <= replicas + surge
        assert new_ready + old_ready >= replicas - unavailable
        if new_ready < new and data.draw(st.booleans()):
            new_ready += 1
        elif not sizes and new_ready < new:
            new_ready = new
        if (old, new_ready) == (0, replicas):
            return
    pytest.fail("the roll-out did not end")


def pod(name, node="n1", phase="Running", since_s=None, restarts=0, cost=None, created_s=0):
    conditions = [] if since_s is None else [{"type": "Ready", "status": "True", "sinceNs": since_s * S}]
    return Pod.model_validate(
        {
            "metadata": {"name": name, "uid": name, "creationNs": created_s * S,
                         "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost} if cost else {}},
            "spec": {"nodeName": node},
            "status": {"phase": phase, "conditions": conditions, "containerStatuses": [{"restartCount": restarts}]},
        }
    )


def test_the_pods_that_are_missed_least_go_first():
    pods = [
        pod("old", "n4", since_s=1),
        pod("young", "n5", since_s=90),
        pod("crowded", "n2", since_s=1),
        pod("expensive", "n3", since_s=1, cost="100"),
        pod("cheap", "n3", since_s=1, cost="-5"),
        pod("restarted", "n6", since_s=1, restarts=3),
        pod("not ready", "n1"),
        pod("pending", "n1", phase="Pending"),
        pod("unassigned", "", phase="Pending"),
    ]
    related = [*pods, pod("other", "n2", since_s=1), pod("another", "n2", since_s=1)]
    order = [each.metadata.name for each in deletion_order(pods, related, 100 * S)]
    assert order == ["unassigned", "pending", "not ready", "cheap", "crowded", "young", "restarted", "old", "expensive"]
