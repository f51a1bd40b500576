"""A comparison becomes single scenarios with labels, and one file reproduces them all."""

import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svcsim.errors import InputError
from svcsim.scenario import Scenario, json_schema, load, loads, resolved_yaml, variants
from svcsim.scenario.paths import set_value, split
from svcsim.units import S
from svcsim.yamlsource import parse
from tests.scenario.samples import MANIFESTS, plain, sample

FOLDER = Path(__file__).parents[2] / "scenarios"
SHIPPED = sorted(path for path in FOLDER.rglob("*.yaml") if "manifests" not in path.parts)
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def labels(scenario: Scenario) -> list[str]:
    return [label for label, _ in variants(scenario)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["iptables"]),
        ("kubernetes: {proxy: ipvs/lc}", ["ipvs/lc"]),
        ("compare: {kubernetes.proxy: [userspace, {mode: iptables}, ipvs/lc, {mode: ipvs, scheduler: rr}]}",
         ["userspace", "iptables", "ipvs/lc", "ipvs/rr"]),
        ("kubernetes: {proxy: ipvs}\ncompare: {kubernetes.proxy.scheduler: [rr, sed]}", ["ipvs/rr", "ipvs/sed"]),
        ("compare: {kubernetes.proxy.mode: [iptables, nftables], cluster.nodes.count: [2, 3]}",
         ["iptables/count=2", "iptables/count=3", "nftables/count=2", "nftables/count=3"]),
        ("compare: {'workloads[load].connections': {kept: keepalive, new: {keepalive: false}}}\nworkloads: [{name: load}]",
         ["kept", "new"]),
        ("compare: {'manifests[deployment/web].spec.replicas': [1, 2]}", ["replicas=1", "replicas=2"]),
        ("compare: {kubernetes.version: ['1.1', '1.2']}", ["version=1.1", "version=1.2"]),
    ],
)
def test_each_combination_has_a_label(text: str, expected: list[str]) -> None:
    assert labels(sample(text)) == expected


def test_a_variant_is_a_whole_scenario_of_its_own() -> None:
    scenario = sample("compare: {kubernetes.proxy: [iptables, ipvs/lc], 'manifests[deployment/web].spec.replicas': [1, 5]}")
    found = [
        (one.kubernetes.label, [obj.replicas for obj in one.objects if obj.kind == "Deployment"], dict(one.compare))
        for _, one in variants(scenario)
    ]
    assert found == [("iptables", [1, 3], {}), ("iptables", [5, 3], {}), ("ipvs/lc", [1, 3], {}), ("ipvs/lc", [5, 3], {})]
    assert [obj.replicas for obj in scenario.objects if obj.kind == "Deployment"] == [3, 3]


def test_modes_that_are_compared_keep_the_periods_that_stand_beside_the_mode() -> None:
    kept = "kubernetes: {proxy: {mode: ipvs, scheduler: sed, minSyncPeriod: 7s, masqueradeAll: true}}\n"
    scenario = sample(kept + "compare: {kubernetes.proxy: [iptables, ipvs, {mode: nftables, minSyncPeriod: 2s}]}")
    found = {label: one.kubernetes.proxy for label, one in variants(scenario)}
    assert list(found) == ["iptables", "ipvs/rr", "nftables"]
    assert [proxy.min_sync_period_ns for proxy in found.values()] == [7 * S, 7 * S, 2 * S]
    assert all(proxy.masquerade_all for proxy in found.values())


def test_what_is_the_same_in_all_variants_is_in_none_of_their_labels() -> None:
    scenario = sample("compare: {run.seed: [1], cluster.nodes.count: [2, 3], kubernetes.proxy: [ipvs/lc]}")
    assert [variant.label for variant in variants(scenario)] == ["count=2/ipvs/lc", "count=3/ipvs/lc"]
    assert [variant.label for variant in variants(sample("compare: {run.seed: [7]}"))] == ["seed=7"]


def test_overrides_and_comparisons_reach_manifests_of_files_and_lists(tmp_path) -> None:
    (tmp_path / "web.yaml").write_text(MANIFESTS.replace("manifests:\n", "apiVersion: v1\nkind: List\nitems:\n"))
    path = tmp_path / "s.yaml"
    path.write_text("manifests: [web.yaml]\nworkloads: []\ncompare: {'manifests[deployment/web].spec.replicas': [4, 5]}\n")
    scenario = load(path, {"manifests[service/web].spec.ports[http].port": 81})
    for one in (scenario, loads(resolved_yaml(scenario))):
        found = [
            [obj.replicas if obj.kind == "Deployment" else obj.spec.ports[0].port for obj in variant.objects]
            for _, variant in variants(one)
        ]
        assert found == [[81, 4], [81, 5]]
    with pytest.raises(InputError, match=r"^--set manifests\[service/web\].spec.prts=1: spec.prts: unknown field 'prts'"):
        load(path, {"manifests[service/web].spec.prts": 1})


def test_a_value_that_is_set_is_not_compared_and_that_is_said() -> None:
    text = MANIFESTS + (
        "workloads: [{name: load}]\n"
        "compare: {kubernetes.proxy: [iptables, nftables], 'workloads[load].timeout': {short: 1s, long: 5s}}\n"
        "expect: ['p99 < 5s mode long', 'p99 < 5s mode nftables/long']\n"
    )
    scenario = loads(text, overrides={"kubernetes.proxy": "nftables"})
    assert [(label, one.kubernetes.mode) for label, one in variants(scenario)] == [("short", "nftables"), ("long", "nftables")]
    assert "kubernetes.proxy is set, so its values are not compared" in scenario.notes
    assert [each.mode for each in scenario.expect] == ["long"]
    anew = {"kubernetes.proxy": "nftables", "compare": {"kubernetes.proxy": ["iptables", "ipvs"]}, "expect": []}
    assert labels(loads(text, overrides=anew)) == ["iptables", "ipvs/rr"]


def test_null_takes_a_value_away() -> None:
    text = "compare: {'manifests[service/web].spec.sessionAffinity': {none: null, ip: ClientIP}}"
    services = [obj for _, one in variants(sample(text)) for obj in one.objects if obj.kind == "Service"]
    affinities = [service.spec.session_affinity for service in services]
    assert affinities == ["None", "ClientIP"]


def test_the_default_mode_follows_the_compared_version() -> None:
    scenario = sample("compare: {kubernetes.version: ['1.1', '1.2']}")
    assert [one.kubernetes.mode for _, one in variants(scenario)] == ["userspace", "iptables"]
    again = loads(resolved_yaml(scenario))
    assert [one.kubernetes.mode for _, one in variants(again)] == ["userspace", "iptables"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(FOLDER)))
def test_the_resolved_file_alone_gives_the_same_scenario(path: Path, tmp_path, monkeypatch) -> None:
    scenario = load(path, {"run.seed": 12345})
    text = resolved_yaml(scenario)
    monkeypatch.chdir(tmp_path)
    again = loads(text, "resolved.yaml")
    assert resolved_yaml(again) == text
    assert again.objects == scenario.objects
    assert again.run.seed == 12345
    assert again.nodes == scenario.nodes
    assert labels(again) == labels(scenario)
    for (_, one), (_, other) in zip(variants(scenario), variants(again), strict=True):
        assert one.kubernetes.label == other.kubernetes.label
        for part in ("cluster", "services", "workloads", "servers", "faults", "calibration"):
            before, after = getattr(one, part), getattr(other, part)
            if part == "cluster":
                before, after = before.network, after.network
            assert dumped(before) == dumped(after), part
    assert [str(found) for found in again.expectations()] == [str(found) for found in scenario.expectations()]


def dumped(value: object) -> object:
    if isinstance(value, tuple):
        return [dumped(item) for item in value]
    data = value.model_dump()  # type: ignore[attr-defined]
    if isinstance(data.get("apply"), dict):  # one manifest is a list of one
        data["apply"] = (data["apply"],)
    return data


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(FOLDER)))
def test_each_shipped_scenario_begins_with_the_question_that_it_answers(path: Path) -> None:
    comment = path.read_text().partition("apiVersion")[0]
    assert comment.startswith("# ")
    assert "?" in comment
    if path.parent == FOLDER:  # in folders are some whose point is a Service without pods, or a pod without a node
        assert load(path).notes == ()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(FOLDER)))
def test_the_schema_accepts_each_shipped_scenario_and_its_resolved_form(path: Path) -> None:
    for text in (path.read_text(), resolved_yaml(load(path))):
        [document] = parse(text, path.name)
        assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(plain(document.root))] == []


@pytest.mark.parametrize(
    "text", ["wrklds: []", "run: {seed: x}", "faults: [{at: 1s, kil: a/b}]", "kubernetes: {proxy: {mod: x}}"])
def test_the_schema_refuses_what_the_loader_refuses(text: str) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors(parse(text, "x")[0].root))


def test_the_schema_is_valid_and_describes_fields() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "Default: 5 s" in str(schema) or "default: 5 s" in str(schema)
    assert schema["$defs"]["Run"]["properties"]["warmup"]["description"].startswith("Requests sent before are not measured")


def test_paths_choose_items_by_place_by_name_and_by_kind() -> None:
    data = {"a": [{"name": "x", "v": 1}, {"kind": "Service", "metadata": {"name": "web"}, "v": 2}]}
    before = str(data)
    changed = dict(data)
    assert set_value(changed, "a[x].v", 5) == ("a", 0, "v")
    assert set_value(changed, "a[service/web].v", 6) == ("a", 1, "v")
    assert set_value(changed, "a[1].new.deep", 7) == ("a", 1, "new", "deep")
    service = {"kind": "Service", "metadata": {"name": "web"}, "v": 6, "new": {"deep": 7}}
    assert changed["a"] == [{"name": "x", "v": 5}, service]
    assert str(data) == before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "a path is expected"), ("a..b", "not a path"), (".a", "not a path"), ("a[", "a bracket is open or empty"),
        ("a[]", "empty"), ("a[9].v", "there is no item 9"), ("a[y].v", "no item is called 'y'"),
        ("s.v", "leads into a single value"), ("s[0]", "no list"),
    ],
)
def test_a_path_that_leads_nowhere_says_why(path: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_value({"a": [{"name": "x"}], "s": 1}, path, 5)


@given(st.text(max_size=20))
def test_a_path_is_split_or_refused(path: str) -> None:
    try:
        steps = split(path)
    except ValueError:
        return
    assert steps
    assert all(text for text, _ in steps)


SCALAR = re.compile(r"(?<=[:\[,{] )[^\s,\[\]{}:#]+")
ODD = ["null", "[]", "{}", "-1", "1e9", "0s", "true", "[1, 2]", "{a: b}", "*a", "|", "fault[0]..", "node/worker-1", ".nan", "''"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(SHIPPED), data=st.data())
def test_a_shipped_scenario_with_a_value_changed_or_a_line_lost_is_resolved_or_its_mistakes_are_told(path, data) -> None:
    text = path.read_text()
    if data.draw(st.booleans()):
        spot = data.draw(st.sampled_from(list(SCALAR.finditer(text))))
        text = text[: spot.start()] + data.draw(st.sampled_from(ODD)) + text[spot.end() :]
    else:
        lines = text.splitlines()
        del lines[data.draw(st.integers(0, len(lines) - 1))]
        text = "\n".join(lines)
    try:
        scenario = loads(text, path.name, base=path.parent)
    except InputError as error:
        assert error.problems  # noqa: PT017
    else:
        resolved = resolved_yaml(scenario)
        assert resolved_yaml(loads(resolved)) == resolved


def test_a_large_cluster_is_resolved_quickly_a_line_an_object() -> None:
    specs = [f"{{ports: [{{port: 80}}], selector: {{app: s{i}}}}}" for i in range(1000)]
    items = "".join(
        f"    - {{apiVersion: v1, kind: Service, metadata: {{name: s{i}}}, spec: {spec}}}\n" for i, spec in enumerate(specs))
    scenario = loads(f"workloads: []\nmanifests:\n  - apiVersion: v1\n    kind: List\n    items:\n{items}")
    text = resolved_yaml(scenario)
    assert text.count("\n- {") == 1000
    again = loads(text)
    assert again.objects == scenario.objects
    assert resolved_yaml(again) == text
    assert scenario.notes == ("no pod of the manifests is selected by: Service default/s0, default/s1, default/s2, default/s3,"
                              " default/s4 and 995 more",)
