"""What a scenario says is what is run: shorthands, defaults, overrides, files beside it."""

import pickle
import time

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svcsim.errors import InputError
from svcsim.kube.timings import load_timings
from svcsim.scenario import Scenario, load, loads, resolved_yaml
from svcsim.scenario.cluster import Nodes, expand
from svcsim.scenario.expect import metric_name, parse_window
from svcsim.scenario.kubernetes import SCHEDULERS, Kubernetes
from svcsim.scenario.retries import FAILURES
from svcsim.scenario.run import Run
from svcsim.units import MS, S
from svcsim.yamldump import dump
from tests.scenario.samples import MANIFESTS, sample


def test_a_scenario_that_says_nothing_but_its_manifests_is_complete() -> None:
    scenario = sample()
    [workload] = scenario.workloads
    assert (workload.name, str(workload.to)) == ("load", "http://web.default.svc:80")
    assert workload.from_ is not None
    assert workload.from_.deployment == "load-client"
    [clients] = [obj for obj in scenario.objects if obj.metadata.name == "load-client"]
    assert clients.kind == "Deployment"
    assert clients.replicas == 3
    assert workload.arrivals.poisson_per_s == 100
    assert scenario.kubernetes.mode == "iptables"
    assert scenario.node_names == ("worker-1", "worker-2", "worker-3")
    assert (scenario.run.duration_ns, scenario.run.measured_from_ns, scenario.run.seed) == (60 * S, 5 * S, 1)
    assert scenario.notes == ()


def test_no_workload_is_none_if_the_file_says_so() -> None:
    assert sample("workloads: []").workloads == ()


def test_a_workload_of_its_own_name_is_named_after_its_place() -> None:
    assert [workload.name for workload in sample("workloads: [{}, {name: b}, {}]").workloads] == ["load", "b", "load-3"]


@pytest.mark.parametrize(
    ("selector", "note"),
    [
        ("beta.kubernetes.io/os: linux, kubernetes.io/arch: amd64", None),
        ("disk: ssd", None),
        ("disk: tape", "deployment/old: its pods stay pending, for no node has the labels of its nodeSelector (disk=tape)"),
    ],
)
def test_pods_that_no_node_fits_are_told_of(selector: str, note: str | None) -> None:
    scenario = loads(
        "workloads: []\ncluster: {nodes: {count: 2, labels: {disk: ssd}}}\n"
        "manifests: [{apiVersion: apps/v1, kind: Deployment, metadata: {name: old}, spec: {template: {metadata: "
        f"{{labels: {{app: old}}}}, spec: {{containers: [{{name: c}}], nodeSelector: {{{selector}}}}}}}}}}}]"
    )
    assert scenario.notes == (() if note is None else (note,))


def test_a_udp_service_is_sent_datagrams() -> None:
    scenario = loads("manifests: [{apiVersion: v1, kind: Service, metadata: {name: d, namespace: x},"
                     " spec: {ports: [{port: 53, protocol: UDP}]}}]")
    assert str(scenario.workloads[0].to) == "udp://d.x.svc:53"


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("kubernetes: {proxy: ipvs/lc}", "kubernetes.label", "ipvs/lc"),
        ("kubernetes: {proxy: {mode: ipvs}}", "kubernetes.label", "ipvs/rr"),
        ("kubernetes: {proxy: {scheduler: sed}}", "kubernetes.label", "ipvs/sed"),
        ("kubernetes: {proxy: iptables/nft}", "kubernetes.label", "iptables/nft"),
        ("kubernetes: {version: 1.30}", "kubernetes.version", "1.30"),
        ("kubernetes: {version: 1.30}", "kubernetes.minor", (1, 30)),
        ("kubernetes: {version: v1.8.0-beta.0}", "kubernetes.minor", (1, 8)),
        ("kubernetes: {version: '1.1'}", "kubernetes.mode", "userspace"),
        ("kubernetes: {version: '1.2'}", "kubernetes.mode", "iptables"),
        ("cluster: {nodes: 5}", "cluster.nodes.count", 5),
        ("cluster: {network: {rtt: 300us}}", "cluster.network.rtt.cross_zone_ns", 300_000),
        ("cluster: {network: {loss: 0.1%}}", "cluster.network.loss", 0.001),
        ("cluster: {network: {bandwidth: 1Gbit/s}}", "cluster.network.bandwidth_bit_per_s", 10**9),
        ("workloads: [{arrivals: 40/s}]", "workloads.0.arrivals.poisson_per_s", 40),
        ("workloads: [{arrivals: {closed: 7}}]", "workloads.0.arrivals.closed.users", 7),
        ("workloads: [{retries: 3}]", "workloads.0.retries.attempts", 3),
        ("workloads: [{retries: {attempts: 3, backoff: 10ms, on: [timeout, connect-timeout, connectTimeout, reset]}}]",
         "workloads.0.retries.on", ("request_timeout", "connect_timeout", "connect_timeout", "reset")),
        ("workloads: [{connections: new}]", "workloads.0.connections.keepalive", False),
        ("workloads: [{request: 4KiB}]", "workloads.0.request.constant_bytes", 4096),
        ("workloads: [{resolve: interval(5s)}]", "workloads.0.resolve.interval_ns", 5 * S),
        ("workloads: [{from: node/worker-1}]", "workloads.0.from_.node", "worker-1"),
        ("servers: [{serviceTime: 2ms}]", "servers.0.service_time.constant_ns", 2 * MS),
        ("servers: [{serviceTime: {exponential: 2ms}}]", "servers.0.service_time.exponential_ns", 2 * MS),
        ("services: {count: 3}", "services.0.count", 3),
        ("faults: [{at: 1s, slow: deploy/web, factor: 3x}]", "faults.0.factor", 3.0),
        ("faults: [{at: 1s, kill: 'deployment/web[1]'}]", "faults.0.text", "deployment/web[1] killed"),
        ("faults: [{at: 1s, loss: 1%, on: node/worker-1}]", "faults.0.text", "1% loss on node/worker-1"),
        ("faults: [{at: 1s, down: node/worker-1, for: 2s}]", "faults.0.ends_ns", 3 * S),
        ("expect: [p99 < 20ms]", "expect.0.high", 20 * MS),
        ("expect: ['load: success >= 99.9% during 5s..30s']", "expect.0.low", 0.999),
    ],
)
def test_shorthands_mean_what_they_look_like(text: str, path: str, value: object) -> None:
    found: object = sample(text)
    for step in path.split("."):
        found = found[int(step)] if step.isdigit() else getattr(found, step)  # type: ignore[index]
    assert found == value


def test_nodes_are_named_and_zoned_in_turn() -> None:
    pools = {"zones": ["a", "b"], "list": [{"count": 2}, {"name": "big", "cores": 16, "count": 2}, {"name": "lone", "zone": "z"}]}
    nodes = expand(Nodes.model_validate(pools))
    assert [(node.name, node.cores, node.zone) for node in nodes] == [
        ("worker-1", 4, "a"), ("worker-2", 4, "b"), ("big-1", 16, "a"), ("big-2", 16, "b"), ("lone", 4, "z")]


def test_nodes_of_a_dump_are_the_nodes() -> None:
    scenario = loads("manifests:\n  - {apiVersion: v1, kind: Node, metadata: {name: real}}\nworkloads: []\n")
    assert (scenario.nodes, scenario.node_names) == ((), ("real",))


def test_timings_are_those_of_the_version_with_the_scenarios_own() -> None:
    kubernetes = sample("kubernetes: {version: '1.30', timings: {kubeletRelist: 5s}}").kubernetes
    assert kubernetes.control_plane_timings() == load_timings((1, 30), kubelet_relist_ns=5 * S)


def test_the_first_entry_that_matches_a_pod_is_its_server() -> None:
    scenario = sample(
        "servers: [{match: {app: web}, namespace: shop, workers: 1}, {match: {app: web}, workers: 2}, {workers: 3}]")
    assert scenario.servers_for("shop", {"app": "web", "x": "y"}).workers == 1
    assert scenario.servers_for("default", {"app": "web"}).workers == 2
    assert scenario.servers_for("default", {"app": "db"}).workers == 3
    assert sample().servers_for("default", {}).workers == 16


def test_files_are_found_beside_the_scenario(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "web.yaml").write_text(MANIFESTS.replace("manifests:\n", "apiVersion: v1\nkind: List\nitems:\n"))
    (tmp_path / "times.txt").write_text("# measured\n1ms\n2.5ms\n")
    path = tmp_path / "my scenario.yaml"
    path.write_text("manifests: [sub/web.yaml]\nservers: [{serviceTime: {empirical: times.txt}}]\n"
                    "faults: [{at: 1s, apply: {file: sub/web.yaml}}]\n")
    scenario = load(path)
    assert scenario.name == "my-scenario"
    assert len(scenario.objects) == 3
    empirical = scenario.servers[0].service_time.empirical
    assert empirical is not None
    assert empirical.values_ns == (1 * MS, 2_500_000)
    assert scenario.faults[0].text == "service/web, deployment/web applied"


def test_further_documents_of_the_file_are_manifests() -> None:
    text = "kind: Scenario\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n"
    assert [obj.metadata.name for obj in loads(text).objects] == ["a", "load-client"]


def test_overrides_change_values_by_path_and_leave_the_rest() -> None:
    text = "kubernetes: {proxy: ipvs/lc}\nworkloads: [{name: a}, {name: b}]\nfaults: [{at: 5s, kill: deployment/web}]\n"
    scenario = loads(text + MANIFESTS, overrides={
        "run.seed": 7, "workloads[b].timeout": "3s", "workloads[0].arrivals": "9/s", "kubernetes.proxy.minSyncPeriod": "2s",
        "manifests[deployment/web].spec.replicas": 5, "faults": None, "cluster.nodes.count": 2})
    assert scenario.run.seed == 7
    assert [workload.timeout_ns for workload in scenario.workloads] == [5 * S, 3 * S]
    assert scenario.workloads[0].arrivals.poisson_per_s == 9
    assert scenario.kubernetes.label == "ipvs/lc"
    assert scenario.kubernetes.proxy.min_sync_period_ns == 2 * S
    assert next(obj for obj in scenario.objects if obj.kind == "Deployment").replicas == 5
    assert (scenario.faults, len(scenario.nodes)) == ((), 2)


def test_what_is_odd_but_possible_becomes_a_note() -> None:
    notes = sample("faults: [{at: 2m, dns: down}]\nservers: [{match: {app: wep}}]\nworkloads: [{connectTimeout: 9s}]").notes
    assert notes == (
        "workload load: connectTimeout is longer than timeout and never takes effect",
        "faults[0] (cluster DNS down) comes at 2m, when the run of 1m is over",
        "servers[0]: no pod has the labels {'app': 'wep'}",
    )


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("http://web", "Service web has one address, its cluster IP; a headless one (clusterIP: None) has one for each pod"),
        ("http://10.96.0.10", "http://10.96.0.10:80 is one address"),
        ("nodePort://web", "nodePort://web:80 is one address"),
        ("http://pods:8080", None),
    ],
)
def test_who_balances_over_one_address_is_told(to: str, why: str | None) -> None:
    pods = "spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8080}]}"
    manifests = MANIFESTS.replace("spec: {selector", "spec: {type: NodePort, selector")
    manifests += f"  - {{apiVersion: v1, kind: Service, metadata: {{name: pods}}, {pods}}}\n"
    notes = loads(f"workloads: [{{to: '{to}', balancing: least_request}}]\n" + manifests).notes
    assert notes == (() if why is None else (f"workload load: balancing has nothing to choose from: {why}",))


@pytest.mark.parametrize(
    "written",
    ["round_robin", "least_request", {"policy": "least_request", "choiceCount": 3},
     {"policy": "least_request", "selectionMethod": "FULL_SCAN"}],
)
def test_a_balancing_policy_is_written_as_short_as_it_was_read(written: object) -> None:
    scenario = sample(workloads=[{"balancing": written}])
    again = yaml.safe_load(resolved_yaml(scenario))["workloads"][0]["balancing"]
    assert again == written
    assert sample(workloads=[{"balancing": again}]).workloads == scenario.workloads


def test_a_workload_may_name_what_a_fault_or_the_generator_makes() -> None:
    scenario = sample(
        "services: {count: 20}\nworkloads: [{to: 'tcp://filler-20.filler:80'}, {to: 'http://later'},"
        " {to: 'udp://kube-dns.kube-system:53'}, {to: 'http://10.0.0.9:8080'}]\n"
        "faults: [{at: 1s, apply: {apiVersion: v1, kind: Service, metadata: {name: later}, spec: {ports: [{port: 80}]}}}]")
    assert len(scenario.workloads) == 4


def test_generated_services_have_slices_with_addresses_of_their_own() -> None:
    [generator] = sample("services: {count: 3, endpoints: 150}").services
    objects = list(generator.objects())
    slices = [obj for obj in objects if obj.kind == "EndpointSlice"]
    addresses = [endpoint.addresses[0] for obj in slices for endpoint in obj.endpoints]
    assert (len(objects), len(slices), len(addresses), len(set(addresses))) == (9, 6, 450, 450)
    assert {obj.service_key for obj in slices} == {"filler/filler-1", "filler/filler-2", "filler/filler-3"}
    assert not any(generator.has("filler", f"filler-{number}") for number in ("0", "4", "01", "x"))


def test_expectations_are_ready_to_be_evaluated() -> None:
    scenario = sample(
        "faults: [{name: crash, at: 10s, kill: deployment/web}]\nexpect:\n"
        "  - 'load: p(99.9) <= 20ms during fault[crash]..+30s mode iptables'\n"
        "  - {metric: outage, fault: crash, below: 3s}\n  - share.max_over_mean < 1.5\n"
        "  - error_rate < 1% during warmup..end\n")
    first, second, third, fourth = scenario.expectations()
    assert (first.metric, first.high, first.high_inclusive, first.start_ns, first.end_ns, first.mode, first.workload) == (
        "latency.p999", 20 * MS, True, 10 * S, 40 * S, "iptables", "load")
    assert first.where.startswith("s.yaml:")
    assert (second.metric, second.fault, second.high, second.high_inclusive) == ("outage", 0, 3 * S, False)
    assert (third.metric, third.high) == ("balance", 1.5)
    assert (fourth.start_ns, fourth.end_ns) == (5 * S, 60 * S)


@pytest.mark.parametrize("text", ["5s..30s", "5s..", "..30s", "fault[0]..+30s", "fault[a]+2s..fault[b]", "warmup..end-5s"])
def test_a_window_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_window(text)) == text


@pytest.mark.parametrize(
    ("short", "name"), [("p99", "latency.p99"), ("p(95)", "latency.p95"), ("p99.9", "latency.p999"), ("max", "latency.max"),
                        ("latency_all.p(99)", "latency_all.p99"), ("errors", "error_rate"), ("balance", "balance")])
def test_short_names_of_metrics(short: str, name: str) -> None:
    assert metric_name(short) == name


def test_the_failures_to_retry_on_are_those_that_a_request_can_meet() -> None:
    from svcsim.results.records import Outcome

    assert set(FAILURES) <= {outcome.key for outcome in Outcome}
    assert {outcome.key for outcome in Outcome} - set(FAILURES) == {"ok", "shed", "client_gone", "no_variable", "not_found"}


def test_the_schedulers_are_those_of_ipvs() -> None:
    from svcsim.linux.ipvs.schedulers import SCHEDULERS as IMPLEMENTED

    assert set(SCHEDULERS) == set(IMPLEMENTED)


def test_a_profile_of_ones_own_is_found_beside_the_scenario_and_kept_in_the_resolved_file(tmp_path) -> None:
    (tmp_path / "mine.toml").write_text('[profile]\nname = "mine"\nbase = "linux-6.18-measured"\n')
    (tmp_path / "s.yaml").write_text("calibration: {profile: mine.toml, overrides: {path.forward: 123}}\n" + MANIFESTS)
    scenario = load(tmp_path / "s.yaml")
    again = loads(resolved_yaml(scenario))
    for one in (scenario, again):
        assert (one.calibration.load().name, one.calibration.load().entry("path.forward").value) == ("mine", 123)


def test_models_can_be_built_in_python_with_plain_numbers() -> None:
    assert Run(duration_ns=10 * S, warmup_ns=1 * S).measured_from_ns == 1 * S
    assert Kubernetes(version="1.9").minor == (1, 9)


def test_a_scenario_goes_to_another_process() -> None:
    scenario = sample("faults: [{at: 1s, kill: deployment/web}]")
    copy = pickle.loads(pickle.dumps(scenario))
    assert copy == scenario
    assert copy.objects == scenario.objects


def test_thousands_of_services_load_quickly() -> None:
    began = time.process_time()
    sample("services: {count: 50000}\ncompare: {kubernetes.proxy: [iptables, ipvs, nftables]}")
    assert time.process_time() - began < 2


def loaded_or_told(text: str, overrides: dict | None = None) -> bool:
    """Whether a text is a scenario, or its mistakes are told: nothing else may happen."""
    try:
        return isinstance(loads(text, "s.yaml", overrides=overrides), Scenario)
    except InputError as error:
        return bool(error.problems)


WORDS = [
    "kubernetes", "proxy", "mode", "ipvs", "cluster", "nodes", "count", "network", "workloads", "to", "from",
    "arrivals", "poisson", "faults", "at", "kill", "down", "for", "run", "duration", "seed", "compare", "expect",
    "metric", "below", "servers", "serviceTime", "manifests", "file", "services", "timings", "version", "1s", "10/s",
    "http://web", "deployment/web[0]", "node/worker-1", "latency.p99", "kubernetes.proxy", "fault[0]..", "p99 < 1ms",
    "labels", "1.31", "apply", "outside", "rtt", "empirical", "lognormal", "list", "kind", "Scenario", "links",
    "between", "closed", "resolve", "calibration", "workloads[0].to",
]
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 100) | st.sampled_from(WORDS) | st.text(max_size=4) | st.floats(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(WORDS), TREES, min_size=1, max_size=4))
def test_any_tree_is_a_scenario_or_an_input_error(tree: dict) -> None:
    text = dump(tree)
    if "manifests" not in tree:
        text += MANIFESTS
    assert loaded_or_told(text)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(
    part=st.sampled_from(["faults", "workloads", "servers", "expect"]),
    items=st.lists(st.dictionaries(st.sampled_from(WORDS), TREES, max_size=4) | TREES, max_size=3),
)
def test_any_tree_in_a_list_is_a_scenario_or_an_input_error(part: str, items: list) -> None:
    assert loaded_or_told(dump({part: items}) + MANIFESTS)


@settings(deadline=None)
@given(
    path=st.text(alphabet="ab.[]0rundseti", max_size=12) | st.sampled_from(["run.seed", "workloads[0]", "faults[0].at"]),
    value=TREES,
)
def test_any_override_is_a_scenario_or_an_input_error(path: str, value: object) -> None:
    assert loaded_or_told("workloads: [{name: a}]" + MANIFESTS, {path: value})
