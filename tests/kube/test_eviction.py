"""PodDisruptionBudgets and the eviction of pods."""

import pytest

from svcsim.kube.api.disruption import PodDisruptionBudget
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.eviction import budget_of, evict, refusal
from svcsim.kube.printing import Look, rows_of
from tests.kube.small_cluster import SmallCluster, deployment, service


def pdb(name="web", **spec):
    metadata = {"name": name, "namespace": "default"}
    selector = {"matchLabels": {"app": "web"}}
    return PodDisruptionBudget.model_validate({"metadata": metadata, "spec": {"selector": selector, **spec}})


def cluster_with(*budgets, replicas=3):
    return SmallCluster([deployment(replicas=replicas), service(), *budgets])


@pytest.mark.parametrize(("spec", "replicas", "allowed"), [
    ({"minAvailable": 2}, 3, 1), ({"minAvailable": 3}, 3, 0), ({"minAvailable": 5}, 3, 0), ({"minAvailable": 0}, 3, 3),
    ({"minAvailable": "50%"}, 3, 1), ({"minAvailable": "100%"}, 3, 0), ({"maxUnavailable": 1}, 3, 1),
    ({"maxUnavailable": 0}, 3, 0), ({"maxUnavailable": "30%"}, 3, 1), ({"maxUnavailable": "50%"}, 7, 4), ({}, 3, 3),
    ({"minAvailable": 2, "selector": {}}, 3, 1), ({"minAvailable": 3, "selector": None}, 3, 0),
])
def test_how_many_pods_may_go(spec, replicas, allowed):
    budget = pdb(**spec)
    cluster = cluster_with(budget, replicas=replicas)
    assert budget_of(budget, cluster.store).allowed == allowed
    assert rows_of("PodDisruptionBudget", [budget], Look(cluster.store, 0))[1][3] == str(allowed)


def test_a_budget_says_one_of_two():
    with pytest.raises(ValueError, match="cannot be both set"):
        pdb(minAvailable=1, maxUnavailable=1)
    with pytest.raises(ValueError, match="a percentage such as '50%'"):
        pdb(minAvailable="half")


def test_one_pod_goes_and_the_next_waits_until_another_is_ready():
    cluster = cluster_with(pdb(maxUnavailable=1))
    one, two, _ = cluster.pods()
    assert evict(one, cluster.store) == ""
    assert cluster.store.require(Pod, one.metadata.key).is_terminating
    assert "would violate the pod's disruption budget" in evict(two, cluster.store)
    cluster.run(10)
    assert evict(cluster.store.require(Pod, two.metadata.key), cluster.store) == ""


def test_the_scale_counts_not_the_pods():
    """A pod that has been deleted by hand uses the budget up."""
    cluster = cluster_with(pdb(maxUnavailable=1))
    one, two, _ = cluster.pods()
    cluster.store.delete(Pod, one.metadata.key)
    assert refusal(two, cluster.store)


def test_pods_that_serve_nobody_may_go_where_the_others_suffice():
    cluster = cluster_with(pdb(minAvailable=2))
    one = cluster.pods()[0]
    conditions = tuple(each.model_copy(update={"status": "False"}) for each in one.status.conditions)
    cluster.store.update_status(one.model_copy(update={"status": one.status.model_copy(update={"conditions": conditions})}))
    broken, sound, _ = cluster.pods()
    assert not broken.is_ready
    assert refusal(broken, cluster.store) == ""
    assert refusal(sound, cluster.store)


def test_a_broken_pod_waits_where_too_few_serve_unless_the_policy_lets_it_go():
    for policy, waits in (("IfHealthyBudget", True), ("AlwaysAllow", False)):
        cluster = cluster_with(pdb(minAvailable=3, unhealthyPodEvictionPolicy=policy))
        one = cluster.pods()[0]
        conditions = tuple(each.model_copy(update={"status": "False"}) for each in one.status.conditions)
        cluster.store.update_status(one.model_copy(update={"status": one.status.model_copy(update={"conditions": conditions})}))
        assert bool(refusal(cluster.pods()[0], cluster.store)) is waits


def test_two_budgets_for_one_pod_refuse_every_eviction():
    cluster = cluster_with(pdb("a", minAvailable=0), pdb("b", minAvailable=0))
    assert "more than one PodDisruptionBudget" in refusal(cluster.pods()[0], cluster.store)


def test_pods_of_a_node_that_is_no_more_are_collected_after_its_quarantine():
    cluster = cluster_with()
    lost = next(pod for pod in cluster.pods() if pod.spec.node_name == "n2")
    cluster.at(5, lambda: cluster.store.delete(Node, "n2"))
    cluster.run(59.9)
    assert cluster.store.get(Pod, lost.metadata.key) is not None
    cluster.run(70)
    assert cluster.store.get(Pod, lost.metadata.key) is None
    assert len(cluster.ready_pods()) == 3
    assert {pod.spec.node_name for pod in cluster.pods()} == {"n1", "n3"}


def test_a_node_that_comes_back_within_its_quarantine_keeps_its_pods():
    cluster = cluster_with()
    before = {pod.metadata.uid for pod in cluster.pods()}
    node = cluster.store.require(Node, "n2")
    cluster.at(5, lambda: cluster.store.delete(Node, "n2"))
    cluster.at(30, lambda: cluster.store.create(node))
    cluster.run(100)
    assert {pod.metadata.uid for pod in cluster.pods()} == before
