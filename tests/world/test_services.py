"""Kinds of Services end to end: UDP, node ports, hand-made endpoints outside the cluster, headless Services by name."""

import pytest

import svcsim
from svcsim.engine.journal import Happening
from svcsim.errors import UsageError
from svcsim.results.records import Flag, Outcome
from tests.world.small import ALL_MODES, KERNEL_MODES, SMALL, Seen, see

PROBE = "              readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 2}\n"
UDP = (
    SMALL.replace("port: 80, targetPort: 8080}", "protocol: UDP, port: 80, targetPort: 8080}").replace(PROBE, "")
    .replace("containerPort: 8080}", "containerPort: 8080, protocol: UDP}").replace("http://web", "udp://web")
)
SAME_SOCKET = {"workloads__0__connections": "keepalive", "workloads__0__arrivals": {"constant": "60/s"}}
DELETE = {"at": "4s", "delete": "deployment/web[1]"}


# ---- UDP -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
def test_datagrams_are_answered_and_cost_no_handshake(mode):
    seen = see(mode=mode, text=UDP, run__duration="5s")
    assert seen.failed() == 0
    assert len(seen.answered()) == 3
    assert seen.result.requests.connect_ns.max() < 1_000_000


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_socket_stays_with_its_endpoint_and_moves_when_kube_proxy_deletes_the_entry(mode):
    seen = see(DELETE, mode=mode, text=UDP, run__duration="10s", workloads__0__timeout="500ms", **SAME_SOCKET)
    [pod] = seen.pods_of_fault()
    assert len(seen.answered(0.0, 4.0)) <= 3
    synced = seen.synced_after(4.0)
    assert synced < 6.0
    assert seen.failed(synced) == 0
    assert seen.answered(synced).get(pod, 0) == 0


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_without_kube_proxy_a_busy_socket_feeds_a_dead_pod_for_ever(mode):
    every_pod = {"at": "4s", "delete": {"labels": {"app": "web"}}}
    seen = see(every_pod, {"at": "3s", "stopProxy": "node/*"}, mode=mode, text=UDP, run__duration="200s",
               workloads__0__timeout="500ms", workloads__0__connections="keepalive", workloads__0__arrivals={"constant": "6/s"})
    assert seen.failed(0.0, 3.9) == 0
    assert seen.answered(4.1).total() == 0  # 120 s of a stream's time-out have passed, and each datagram renews it
    fresh = see(every_pod, mode=mode, text=UDP, run__duration="20s", workloads__0__timeout="500ms",
                workloads__0__connections="keepalive", workloads__0__arrivals={"constant": "6/s"})
    assert fresh.failed(10.0) == 0


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_an_idle_socket_is_decided_anew_when_its_entry_has_expired(mode):
    seen = see(mode=mode, text=UDP, run__duration="3000s", workloads__0__connections="keepalive",
               workloads__0__arrivals={"constant": "0.015/s"})
    assert seen.failed() == 0
    requests = seen.result.requests
    by_client = {node: len(set(requests.endpoint[requests.client_node == node].tolist())) for node in range(3)}
    assert max(by_client.values()) > 1


def test_ipvs_schedules_datagrams_of_a_dead_endpoint_anew():
    seen = see(DELETE, mode="ipvs/rr", text=UDP, run__duration="10s", workloads__0__timeout="500ms", **SAME_SOCKET)
    assert seen.failed(seen.synced_after(4.0)) == 0


def test_the_userspace_proxy_forgets_a_udp_client_after_250_ms_without_traffic():
    steady = see(mode="userspace", text=UDP, run__duration="6s", workloads__0__connections="keepalive",
                 workloads__0__arrivals={"constant": "60/s"})
    rare = see(mode="userspace", text=UDP, run__duration="60s", workloads__0__connections="keepalive",
               workloads__0__arrivals={"constant": "1/s"})

    def endpoints_of_client(seen, node):
        requests = seen.result.requests
        return set(requests.endpoint[requests.client_node == node].tolist())

    assert steady.failed() == rare.failed() == 0
    assert all(len(endpoints_of_client(rare, node)) == 3 for node in range(3))
    assert any(len(endpoints_of_client(steady, node)) < 3 for node in range(3))


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_a_node_that_dies_is_a_blackhole_for_datagrams_until_its_endpoint_leaves(mode):
    seen = see({"at": "5s", "down": "node/worker-2"}, mode=mode, text=UDP, run__duration="70s", workloads__0__timeout="1s",
               workloads__0__arrivals={"constant": "12/s"})
    left = seen.synced_after(seen.first(Happening.NODE_NOT_READY, "worker-2"))
    lost = seen.outcomes(6.0, left)
    assert set(lost) == {Outcome.OK, Outcome.REQUEST_TIMEOUT, Outcome.CLIENT_GONE}
    assert lost[Outcome.REQUEST_TIMEOUT] / (lost[Outcome.OK] + lost[Outcome.REQUEST_TIMEOUT]) == pytest.approx(1 / 3, abs=0.12)
    assert seen.failed(left) == 0


# ---- node ports ------------------------------------------------------------------------------------------------------------

NODE_PORT = {
    "manifests[service/web].spec.type": "NodePort",
    "cluster.outside": [{"name": "laptop", "address": "203.0.113.9"}],
    "workloads[0].from": "outside/laptop",
    "workloads[0].to": "nodePort://web.default:80?node=worker-1",
}


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_node_port_is_reached_from_outside_and_answered_by_every_pod(mode):
    seen = see(mode=mode, run__duration="5s", **NODE_PORT)
    assert seen.failed() == 0
    assert len(seen.answered()) == 3


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_the_source_of_a_node_ports_traffic_is_the_nodes_own_address(mode):
    seen = see(mode=mode, run__duration="5s", **NODE_PORT)
    assert seen.flagged(Flag.MASQUERADED) == len(seen.result.requests)
    inside = see(mode=mode, run__duration="5s")
    assert inside.flagged(Flag.MASQUERADED) == 0


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_with_external_traffic_policy_local_only_the_nodes_own_pods_answer_and_nothing_is_masqueraded(mode):
    seen = see(mode=mode, run__duration="5s", **NODE_PORT, **{"manifests[service/web].spec.externalTrafficPolicy": "Local"})
    assert seen.failed() == 0
    assert len(seen.answered()) == 1
    assert seen.flagged(Flag.MASQUERADED) == 0


@pytest.mark.parametrize("mode", KERNEL_MODES)
@pytest.mark.parametrize("text", [SMALL, UDP])
def test_with_external_traffic_policy_local_a_node_without_pods_is_no_way_in(mode, text):
    """iptables and nftables drop; IPVS sends on to another node, whose answer comes from an address unknown to the client."""
    away = {"manifests[deployment/web].spec.replicas": 1, "manifests[deployment/web].spec.template.spec.nodeName": "worker-2"}
    scheme = "nodePort+udp" if text is UDP else "nodePort"
    for node, outcomes in (("worker-2", {Outcome.OK}), ("worker-1", {Outcome.CONNECT_TIMEOUT, Outcome.REQUEST_TIMEOUT})):
        seen = see(mode=mode, text=text, run__duration="3s", **{
            **NODE_PORT, **away, "manifests[service/web].spec.externalTrafficPolicy": "Local",
            "workloads[0].to": f"{scheme}://web.default:80?node={node}"})
        assert set(seen.outcomes()) <= outcomes


def test_an_address_that_nobody_has_is_noted_with_those_of_the_nodes():
    [note] = see(run__duration="2s", **{"workloads[0].to": "http://192.168.7.7:80"}).notes()
    assert note.startswith("workload load sends to 192.168.7.7, which nobody has (nodes: worker-1 192.168.")
    for address in ("192.168.0.10", "10.96.0.11"):
        assert see(run__duration="2s", **{"workloads[0].to": f"http://{address}:80", "manifests[service/web].spec.clusterIP":
                                          "10.96.0.11"}).notes() == []


def test_hand_made_endpoints_that_nobody_has_are_noted():
    objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": {"ports": [{"port": 5432}]}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db"},
         "subsets": [{"addresses": [{"ip": "198.51.100.5"}], "ports": [{"port": 5432}]}]},
    ]
    settings = {"manifests": objects, "workloads": [{"to": "tcp://db:5432"}], "run.duration": "2s"}
    host = {"name": "db", "address": "198.51.100.5", "servers": [{"port": 5432}]}
    assert Seen(svcsim.run_one(svcsim.loads("run: {}", settings))).notes() == [
        "workload load: nobody has the addresses behind Service default/db (198.51.100.5); name a host under cluster.outside"]
    assert Seen(svcsim.run_one(svcsim.loads("run: {}", {**settings, "cluster.outside": [host]}))).notes() == []


def test_a_workload_that_nobody_sends_is_a_mistake_with_its_place():
    nowhere = {"manifests[deployment/client].spec.template.spec.nodeSelector": {"disk": "tape"}}
    with pytest.raises(UsageError, match=r":\d+: workload load: there is nobody who sends \(deployment/client has"):
        see(**nowhere)


def test_a_pod_of_a_headless_service_is_called_by_its_name_as_the_search_path_allows():
    stateful = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
         "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 5432}]}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
         "spec": {"serviceName": "db", "replicas": 2, "template": {
             "metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"ports": [{"containerPort": 5432}]}]}}}},
    ]
    for host in ("db-1.db", "db-1.db.default", "db-1.db.default.svc"):
        seen = Seen(svcsim.run_one(svcsim.loads(
            "run: {duration: 3s, warmup: 0s}", {"manifests": stateful, "workloads": [{"to": f"tcp://{host}:5432"}]}
        )))
        assert seen.failed() == 0
        assert set(seen.answered()) == {"default/db-1"}
        assert seen.result.balance == 1


def test_a_port_of_a_service_may_be_called_by_its_name():
    seen = see(run__duration="3s", **{"workloads[0].to": "http://web.default.svc:http"})
    assert seen.failed() == 0


def test_without_a_node_named_a_client_takes_one_of_them():
    seen = see(run__duration="3s", **{**NODE_PORT, "workloads[0].to": "nodePort://web.default:80"})
    assert seen.failed() == 0


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_dead_node_takes_its_node_port_along(mode):
    seen = see({"at": "2s", "down": "node/worker-1"}, mode=mode, run__duration="5s", **NODE_PORT)
    assert seen.failed(0.0, 1.9) == 0
    assert Outcome.OK not in seen.outcomes(2.1)


# ---- endpoints by hand ------------------------------------------------------------------------------------------------------

DATABASE = """
apiVersion: svcsim/v1
kind: Scenario
metadata: {name: outside}
cluster:
  nodes: {count: 2}
  outside:
    - {name: db-1, address: 203.0.113.1, rtt: 10ms, servers: [{port: 5432, serviceTime: {constant: 1ms}}]}
    - {name: db-2, address: 203.0.113.2, rtt: 10ms, servers: [{port: 5432, serviceTime: {constant: 1ms}}]}
manifests:
  - {apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: [{port: 5432}]}}
  - apiVersion: v1
    kind: Endpoints
    metadata: {name: db}
    subsets: [{addresses: [{ip: 203.0.113.1}, {ip: 203.0.113.2}], ports: [{port: 5432}]}]
workloads:
  - {name: load, from: {clients: 2}, to: "tcp://db:5432", arrivals: {constant: 100/s}, connections: new, resolve: never}
run: {duration: 5s, warmup: 0s}
"""


@pytest.mark.parametrize("mode", ALL_MODES)
def test_a_service_with_hand_made_endpoints_leads_out_of_the_cluster(mode):
    seen = see(mode=mode, text=DATABASE)
    assert seen.failed() == 0
    assert set(seen.answered()) == {"outside/db-1", "outside/db-2"}
    assert seen.result.latency.p50 == pytest.approx(21e6, rel=0.03)  # two round trips and a millisecond


@pytest.mark.parametrize("mode", ALL_MODES)
def test_endpoints_by_hand_that_change_are_followed(mode):
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db"},
                 "subsets": [{"addresses": [{"ip": "203.0.113.2"}], "ports": [{"port": 5432}]}]}
    seen = see({"at": "2s", "apply": endpoints}, mode=mode, text=DATABASE)
    assert seen.failed() == 0
    assert set(seen.answered(seen.synced_after(2.0))) == {"outside/db-2"}


# ---- headless Services --------------------------------------------------------------------------------------------------------

HEADLESS = {"manifests[service/web].spec.clusterIP": "None", "workloads[0].to": "http://web.default.svc:8080",
            "workloads[0].resolve": "connection"}


@pytest.mark.parametrize("mode", ALL_MODES)
def test_the_name_of_a_headless_service_leads_to_its_pods_without_any_proxy(mode):
    seen = see(mode=mode, run__duration="6s", **HEADLESS)
    assert seen.failed() == 0
    assert len(seen.answered()) == 3
    assert min(seen.answered().values()) > 100


def test_a_pod_that_is_not_ready_is_no_more_in_the_answers():
    seen = see({"at": "2s", "failReadiness": "deployment/web[1]"}, run__duration="15s", **HEADLESS)
    [pod] = seen.pods_of_fault()
    gone = seen.first(Happening.POD_NOT_READY, pod)
    assert seen.answered(gone + 1.0).get(pod, 0) == 0
    assert seen.failed() == 0


def test_a_client_that_keeps_its_answer_goes_on_to_a_pod_that_is_gone():
    every_pod = {"at": "3s", "delete": {"labels": {"app": "web"}}}
    settings = {"run__duration": "20s", "workloads__0__timeout": "500ms"}
    assert see(every_pod, **settings, **{**HEADLESS, "workloads[0].resolve": "once"}).answered(4.0).total() == 0
    assert see(every_pod, **settings, **HEADLESS).failed(10.0) == 0


def test_an_answer_that_is_late_when_its_sockets_flow_has_moved_is_lost_and_harms_nobody():
    """The socket is overloaded, so that answers of requests that have been given up meet the flow of later ones."""
    seen = see(
        {"at": "3266ms", "rollout": "deployment/web"}, {"at": "1340ms", "scale": "deployment/web", "replicas": 5},
        mode="ipvs/lblcr", text=UDP, run__duration="10s", run__seed=614, cluster__network__jitter="20ms", **{
            **NODE_PORT, "cluster.outside": [{"name": "laptop", "address": "203.0.113.9", "rtt": "2ms"}],
            "workloads": [{
                "name": "w0", "from": "outside/laptop", "to": "nodePort+udp://web.default:80?node=worker-2", "timeout": "1s",
                "arrivals": {"ramp": {"from": "10/s", "to": "150/s"}}, "connections": {"poolSize": 2}, "resolve": "never",
                "retries": {"attempts": 4, "backoff": {"base": "10ms", "jitter": 0.5}, "on": ["refused", "request_timeout"]},
            }],
        },
    )
    assert seen.result.counters.packets_dropped["flow moved"] > 0
    assert seen.failed(0.0, 2.0) == 0


# ---- a client behind the Service that it calls ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", KERNEL_MODES)
def test_a_pod_that_gets_itself_sees_the_nodes_address(mode):
    seen = see(mode=mode, run__duration="4s", workloads__0__from="deployment/web")
    assert seen.failed() == 0
    flags = seen.result.requests.flags
    hairpin = (flags & int(Flag.HAIRPIN)) != 0
    assert hairpin.mean() == pytest.approx(1 / 3, abs=0.06)
    assert (((flags & int(Flag.MASQUERADED)) != 0) == hairpin).all()


def test_through_the_userspace_proxy_every_client_has_the_nodes_address():
    seen = see(mode="userspace", run__duration="3s")
    assert seen.flagged(Flag.MASQUERADED) == len(seen.result.requests)


# ---- probes are requests -----------------------------------------------------------------------------------------------------

OVERLOAD = {
    "servers__0__serviceTime": {"constant": "100ms"}, "servers__0__workers": 1, "workloads__0__arrivals": {"constant": "60/s"},
    "workloads__0__timeout": "3s", "run__duration": "15s",
}


def test_an_overloaded_pod_fails_its_probes_unless_they_have_a_worker_of_their_own():
    assert see(**OVERLOAD).times(Happening.POD_NOT_READY)
    assert not see(**OVERLOAD, servers__0__probes="separate").times(Happening.POD_NOT_READY)
