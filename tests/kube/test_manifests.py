"""Manifests as people and kubectl write them load unchanged; a wrong field of a Service is told with its place."""

import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svcsim.errors import InputError
from svcsim.kube.manifests import load_manifests, parse_manifests
from svcsim.yamldump import dump
from tests.kube import manifests as shapes


def kinds(text: str) -> dict[str, int]:
    return dict(Counter(obj.kind for obj in parse_manifests(text).objects))


def mistakes(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_manifests(text, "m.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "found", "notes"),
    [
        (shapes.GUESTBOOK, {"Service": 2, "Deployment": 1, "ReplicationController": 1}, []),
        (shapes.BOUTIQUE, {"Deployment": 1, "Service": 2}, ["left out, without bearing on Services: 1 ServiceAccount"]),
        (shapes.BOOKINFO, {"Service": 1, "Deployment": 1},
         ["left out, without bearing on Services: 1 Gateway, 1 ServiceAccount"]),
        (shapes.SOCK_SHOP, {"Deployment": 1, "Service": 1}, ["left out, without bearing on Services: 1 Namespace"]),
        (shapes.KUBECTL_DUMP, {"Node": 1, "Pod": 1, "Service": 1, "Endpoints": 1, "EndpointSlice": 1, "Deployment": 1,
                               "Ingress": 1}, []),
    ],
)
def test_published_manifests_and_dumps_load_unchanged(text: str, found: dict[str, int], notes: list[str]) -> None:
    loaded = parse_manifests(text)
    assert (kinds(text), loaded.notes()) == (found, notes)


def test_the_namespace_is_default_unless_given_and_none_for_what_has_none() -> None:
    loaded = parse_manifests(shapes.SOCK_SHOP + "---\n" + shapes.GUESTBOOK)
    assert {obj.metadata.namespace for obj in loaded.objects} == {"sock-shop", "default"}
    assert parse_manifests("{apiVersion: v1, kind: Node, metadata: {name: a}}").objects[0].metadata.namespace == ""


def test_what_only_an_api_server_writes_does_not_matter() -> None:
    metadata = "{name: web, resourceVersion: '99', generation: 2, creationTimestamp: null, managedFields: [{manager: x}]}"
    spec = "{ports: [{port: 80, nodePort: null}]}"
    text = f"{{apiVersion: v1, kind: Service, metadata: {metadata}, spec: {spec}, status: null}}"
    [service] = parse_manifests(text).objects
    assert service.metadata.resource_version == 0
    assert service.metadata.key == "default/web"


def test_a_typed_list_of_the_api_server_names_its_items() -> None:
    text = "{apiVersion: v1, kind: EndpointsList, items: [{metadata: {name: a}}, {metadata: {name: b}}]}"
    assert [obj.metadata.name for obj in parse_manifests(text).objects] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  slector: {app: a}\n",
         "m.yaml:5:3: spec.slector: unknown field 'slector' (did you mean 'selector'?)"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  ports:\n  - {port: 80, targetport: 8080}\n",
         "m.yaml:6:16: spec.ports[0].targetport: unknown field 'targetport' (did you mean 'targetPort'?)"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: web}]}\n",
         "m.yaml:4:23: spec.ports[0].port: a whole number is expected, not 'web'"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{name: http}]}\n",
         "m.yaml:4:16: spec.ports[0]: 'port' is missing"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80, targetPort: [1]}]}\n",
         "m.yaml:4:39: spec.ports[0].targetPort: a whole number or a string is expected, not a list"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: ClusterIp}\n",
         "m.yaml:4:14: spec.type: 'ClusterIp' is not one of ClusterIP, NodePort, LoadBalancer, ExternalName"
         " (did you mean 'ClusterIP'?)"),
        ("apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubsets: [{addresses: [{ip: 1.2.3}]}]\n",
         "m.yaml:4:29: subsets[0].addresses[0].ip: '1.2.3' is not an IP address"),
        ("apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubsets: [{addresses: [{ip: 127.0.0.1}]}]\n",
         "m.yaml:4:29: subsets[0].addresses[0].ip: 127.0.0.1 may not be in the loopback range"),
        ("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\nendpoints: [{addresses: [2001:db8::1]}]\n",
         "m.yaml:4:26: endpoints[0].addresses[0]: 2001:db8::1 is not an IPv4 address"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {container: [{name: a}]}}}\n",
         "m.yaml:4:25: spec.template.spec.containers: required: a pod has at least one container"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
         "spec: {replicas: -1, template: {spec: {containers: [{}]}}}\n",
         "m.yaml:4:18: spec.replicas: -1 must be greater than or equal to 0"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
         "spec: {replicas: 1000000000, template: {spec: {containers: [{}]}}}\n",
         "m.yaml:4:18: spec.replicas: 1000000000 pods are more than the limit of 150000"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
         "spec: {selector: {matchLabels: {app: a}}, template: {spec: {containers: [{}]}}}\n",
         "m.yaml:4:53: spec.template.metadata.labels: the selector does not match the labels of the template"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
         "spec: {replcas: 3, progressDeadlineSeconds: 9, template: {spec: {containers: [{}]}}}\n",
         "m.yaml:4:8: spec.replcas: unknown field 'replcas' (did you mean 'replicas'?)"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: Web_1}\nspec: {containers: [{}]}\n",
         "m.yaml:3:18: metadata.name: 'Web_1' is not a DNS name of labels a-z, 0-9 and '-'"),
        ("apiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubset: []\n",
         "m.yaml:4:1: subset: unknown field 'subset' (did you mean 'subsets'?)"),
        ("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\nendpoints: [{addresses: "
         "[10.0.0.1], redy: true}]\n",
         "m.yaml:4:37: endpoints[0].redy: unknown field 'redy' (valid: addresses, conditions, "),
        ("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {rule: []}\n",
         "m.yaml:4:8: spec.rule: unknown field 'rule' (did you mean 'rules'?)"),
        ("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, lables: {kubernetes.io/service-name: web}}\n",
         "m.yaml:3:21: metadata.lables: unknown field 'lables' (did you mean 'labels'?)"),
        ("apiVersion: v1\nkind: Service\nspec: {}\n", "m.yaml:1:1: 'metadata' is missing"),
        ("apiVersion: v1\nkind: Service\nmetadata: {labels: {a: b}}\n", "m.yaml:3:11: metadata: 'name' is missing"),
        ("kind: Service\nmetadata: {name: a}\n", "m.yaml:1:1: 'apiVersion' is missing"),
        ("apiVersion: v1\nkind: 5\n", "m.yaml:2:7: kind: a string is expected, not 5"),
        ("apiVersion: v1\nkind: Servce\nmetadata: {name: a}\n",
         "m.yaml:2:7: kind: unknown kind 'Servce' (did you mean 'Service'?)"),
        ("apiVersion: apps/v2\nkind: Deployment\nmetadata: {name: a}\n",
         "m.yaml:1:13: apiVersion: there is no 'apps/v2' of Deployment (valid: apps/v1, apps/v1beta2, apps/v1beta1)"),
        ("apiVersion: v2\nkind: Service\nmetadata: {name: a}\n",
         "m.yaml:1:13: apiVersion: there is no 'v2' of Service (valid: v1)"),
        ("- a\n- b\n", "m.yaml:1:1: a Kubernetes object is expected here, not a list"),
        ("apiVersion: v1\nkind: List\nitems: [3]\n", "m.yaml:3:9: items[0]: a Kubernetes object is expected here, not 3"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{ports: [{name: http}]}]}\n",
         "m.yaml:4:30: spec.containers[0].ports[0]: 'containerPort' is missing"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}}\n", "m.yaml:4:7: spec.ports: required"),
    ],
)
def test_each_mistake_has_its_place_and_says_what_is_right(text: str, message: str) -> None:
    [found] = mistakes(text)
    assert found.startswith(message)


def test_mistakes_of_several_objects_are_told_together() -> None:
    bad = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prts: []}\n"
    assert [message.partition(" ")[0] for message in mistakes(f"{bad}---\n{bad}")] == ["m.yaml:4:8:", "m.yaml:9:8:"]


def test_what_a_pod_template_says_beyond_services_is_ignored() -> None:
    spec = "{replicas: 2, wishes: [1], template: {spec: {gpu: yes, containers: [{name: a, volts: 230}]}}}"
    text = f"{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: a}}, spec: {spec}}}"
    assert kinds(text) == {"Deployment": 1}


def test_retired_fields_are_ignored_and_remarked_on() -> None:
    spec = "{ipFamily: IPv4, topologyKeys: ['*'], ports: [{port: 80}]}"
    loaded = parse_manifests(f"{{apiVersion: v1, kind: Service, metadata: {{name: a}}, spec: {spec}}}")
    assert loaded.notes() == [
        "ignored: Service spec.ipFamily (removed in 1.20)", "ignored: Service spec.topologyKeys (removed in 1.22)"]


def test_slices_of_the_beta_read_their_node_from_the_topology() -> None:
    text = """
    {apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: {name: a}, addressType: IPv4,
     endpoints: [{addresses: [10.0.0.1], topology: {kubernetes.io/hostname: n1, topology.kubernetes.io/zone: z}}]}
    """
    [obj] = parse_manifests(text).objects
    assert obj.kind == "EndpointSlice"
    assert (obj.endpoints[0].node_name, obj.endpoints[0].zone) == ("n1", "z")


def test_the_later_of_two_objects_with_one_name_stands_for_both() -> None:
    one = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: ClusterIP, ports: [{port: 80}]}}"
    loaded = parse_manifests(f"{one}\n---\n{one.replace('ClusterIP', 'NodePort')}\n", "m.yaml")
    assert [obj.spec.type for obj in loaded.objects if obj.kind == "Service"] == ["NodePort"]
    assert loaded.notes() == ["Service default/a stands twice: the one in m.yaml:3 replaces m.yaml:1"]


def test_unknown_kinds_are_counted() -> None:
    text = "apiVersion: example/v1\nkind: Thing\n---\napiVersion: example/v1\nkind: Thing\n"
    assert parse_manifests(text).notes() == ["left out, of kinds that svcsim does not know: 2 example/v1 Thing"]


def test_pods_that_were_already_terminating_are_left_out() -> None:
    text = "{apiVersion: v1, kind: Pod, metadata: {name: a, deletionTimestamp: '2024-01-01T00:00:00Z'}}"
    loaded = parse_manifests(text)
    assert (loaded.objects, loaded.notes()) == ([], ["left out: pods that were already terminating"])


def test_a_large_dump_loads_in_reasonable_time(tmp_path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}], "selector": {"app": "x"}}}
    items = [{**service, "metadata": {"name": f"s{i}", "namespace": "n"}} for i in range(2000)]
    path = tmp_path / "dump.yaml"
    path.write_text(dump({"apiVersion": "v1", "kind": "List", "items": items}))
    began = time.process_time()
    assert len(load_manifests(path).objects) == 2000
    assert time.process_time() - began < 8


FIELDS = ["apiVersion", "kind", "metadata", "spec", "items", "name", "ports", "port", "selector", "template", "endpoints",
          "status", "subsets", "addresses", "rules", "labels", "deletionTimestamp"]
VALUES = ["v1", "apps/v1", "Service", "Deployment", "List", "Pod", "EndpointSlice", "discovery.k8s.io/v1", "Ingress",
          "networking.k8s.io/v1", "Node", "x"]
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.sampled_from(VALUES) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=15,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(tree=TREES, kind=st.sampled_from(VALUES), version=st.sampled_from(VALUES))
def test_no_tree_raises_anything_but_an_input_error(tree: object, kind: str, version: str) -> None:
    told: list = []
    try:
        parse_manifests(dump({"apiVersion": version, "kind": kind, **tree} if isinstance(tree, dict) else tree))
    except InputError as error:
        told = error.problems
    assert told is not None
    assert all(problem.line >= 1 and problem.message for problem in told)


@pytest.mark.parametrize(
    ("annotation", "field", "value"),
    [
        ("service.beta.kubernetes.io/external-traffic: OnlyLocal", "external_traffic_policy", "Local"),
        ("service.alpha.kubernetes.io/tolerate-unready-endpoints: 'true'", "publish_not_ready_addresses", True),
        ("service.beta.kubernetes.io/load-balancer-source-ranges: '10.0.0.0/8, 192.0.2.0/24'", "load_balancer_source_ranges",
         ("10.0.0.0/8", "192.0.2.0/24")),
    ],
)
def test_annotations_of_old_stand_for_the_fields_that_took_their_place(annotation, field, value):
    text = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, annotations: {{{annotation}}}}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
"""
    [service] = parse_manifests(text).objects
    assert getattr(service.spec, field) == value
