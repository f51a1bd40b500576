"""StatefulSets: stable names, one after the other; and what else keeps a pod from starting or being placed."""

from svcsim.engine.journal import Happening
from svcsim.kube.api.pod import Container, Pod
from svcsim.kube.api.workloads import StatefulSet
from svcsim.units import S
from tests.kube.small_cluster import SmallCluster, deployment, service


def stateful_set(replicas=3, container=None, pod=None, **spec):
    labels = {"app": "web"}
    return StatefulSet.model_validate({
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", **(container or {})}], **(pod or {})}}, **spec},
    })


def names(cluster):
    return sorted(pod.metadata.name for pod in cluster.pods())


def order(cluster, happening):
    return [entry.subject.removeprefix("default/") for entry in cluster.entries(happening)]


def versions(cluster):
    return {pod.metadata.name: pod.spec.containers[0].image for pod in cluster.pods()}


def update(cluster, image):
    current = cluster.store.require(StatefulSet, "default/db")
    spec = current.spec.template.spec.model_copy(update={"containers": (Container(name="c", image=image),)})
    cluster.change(current, template=current.spec.template.model_copy(update={"spec": spec}))


def test_pods_start_one_after_the_other_each_when_all_before_are_ready():
    cluster = SmallCluster([stateful_set()], settled=False).run(30)
    assert order(cluster, Happening.POD_SCHEDULED) == order(cluster, Happening.POD_READY) == ["db-0", "db-1", "db-2"]
    scheduled = [entry.at_ns for entry in cluster.entries(Happening.POD_SCHEDULED)]
    ready = [entry.at_ns for entry in cluster.entries(Happening.POD_READY)]
    assert ready[0] < scheduled[1] < ready[1] < scheduled[2]


def test_in_parallel_they_start_together():
    cluster = SmallCluster([stateful_set(podManagementPolicy="Parallel")], settled=False).run(30)
    scheduled = [entry.at_ns for entry in cluster.entries(Happening.POD_SCHEDULED)]
    assert scheduled[-1] - scheduled[0] < 0.2 * S
    assert names(cluster) == ["db-0", "db-1", "db-2"]


def test_the_highest_goes_first_and_the_next_when_it_is_gone():
    cluster = SmallCluster([stateful_set(4)])
    cluster.runtime.drain_ns = 3 * S
    cluster.at(1, lambda: cluster.change(stateful_set(), replicas=2))
    cluster.run(30)
    assert order(cluster, Happening.POD_TERMINATING) == ["db-3", "db-2"]
    gone = cluster.entries(Happening.POD_REMOVED)
    assert cluster.entries(Happening.POD_TERMINATING)[1].at_ns > gone[0].at_ns
    assert names(cluster) == ["db-0", "db-1"]


def test_a_deleted_pod_comes_back_under_its_name():
    cluster = SmallCluster([stateful_set()])
    before = cluster.store.require(Pod, "default/db-1")
    cluster.at(1, lambda: cluster.store.delete(Pod, "default/db-1"))
    cluster.run(20)
    after = cluster.store.require(Pod, "default/db-1")
    assert after.metadata.uid != before.metadata.uid
    assert after.is_ready
    assert (after.spec.hostname, after.spec.subdomain) == ("db-1", "db")


def test_an_update_replaces_the_highest_first_down_to_the_partition():
    cluster = SmallCluster([stateful_set(4, updateStrategy={"rollingUpdate": {"partition": 2}})])
    cluster.at(1, lambda: update(cluster, "new"))
    cluster.run(60)
    assert order(cluster, Happening.POD_REMOVED) == ["db-3", "db-2"]
    assert versions(cluster) == {"db-0": "", "db-1": "", "db-2": "new", "db-3": "new"}


def test_below_the_partition_a_pod_comes_back_in_its_old_version():
    cluster = SmallCluster([stateful_set(3, updateStrategy={"rollingUpdate": {"partition": 2}})])
    cluster.at(1, lambda: update(cluster, "new"))
    cluster.at(30, lambda: cluster.store.delete(Pod, "default/db-0"))
    cluster.run(60)
    assert versions(cluster) == {"db-0": "", "db-1": "", "db-2": "new"}


def test_a_pod_that_does_not_get_ready_holds_up_even_the_update_that_would_mend_it():
    for policy, mended in (("OrderedReady", False), ("Parallel", True)):
        probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
        cluster = SmallCluster([stateful_set(3, {"readinessProbe": probe}, podManagementPolicy=policy)])
        cluster.prober.failing.add("default/db-2")
        cluster.at(20, lambda cluster=cluster: update(cluster, "new"))
        cluster.run(90)
        assert (versions(cluster)["db-2"] == "new") is mended, policy


def test_ordinals_may_start_elsewhere():
    cluster = SmallCluster([stateful_set(2, ordinals={"start": 5})]).run(5)
    assert names(cluster) == ["db-5", "db-6"]
    cluster.at(6, lambda: cluster.change(stateful_set(), replicas=1))
    assert names(cluster.run(20)) == ["db-5"]


def test_init_containers_delay_the_start_by_their_sleep():
    starts = {}
    for name, pod in (("none", {}), ("two", {"initContainers": [
            {"name": "a", "command": ["sh", "-c", "sleep 5"]}, {"name": "b", "command": ["sleep"], "args": ["2"]},
            {"name": "side", "restartPolicy": "Always", "command": ["sleep", "infinity"]}]})):
        cluster = SmallCluster([stateful_set(1, pod=pod)], settled=False).run(30)
        starts[name] = cluster.runtime.times("start")[0]
    assert starts["two"] - starts["none"] == 7 * S + 3 * 300_000_000


def test_a_port_of_the_node_is_given_to_one_pod_of_it():
    ports = {"ports": [{"containerPort": 8080, "hostPort": 80}]}
    for settled in (True, False):
        cluster = SmallCluster([deployment(replicas=4, container=ports)], settled=settled).run(20)
        assert sorted(pod.spec.node_name for pod in cluster.pods()) == ["", "n1", "n2", "n3"]
        assert len(cluster.ready_pods()) == 3


def test_a_settled_pod_has_its_readiness_gates_open_and_a_new_one_has_not():
    cluster = SmallCluster([deployment(replicas=2, readinessGates=[{"conditionType": "example.com/lb"}]), service()])
    assert len(cluster.ready_pods()) == 2
    cluster.at(1, lambda: cluster.store.delete(Pod, cluster.pods()[0].metadata.key))
    cluster.run(20)
    assert len(cluster.pods()) == 2
    assert len(cluster.ready_pods()) == 1
    assert cluster.endpoints() == (1, 2)
