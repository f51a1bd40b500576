"""What manifests read as."""

import pytest
from pydantic import ValidationError

from svcsim.kube.api.ingress import Ingress
from svcsim.kube.api.pod import Pod, Probe
from svcsim.kube.api.workloads import Deployment, ReplicationController
from svcsim.kube.kinds import has_no_bearing, kind_named, kind_of, known_kinds


def test_a_probe_has_the_documented_defaults_also_for_zeros():
    probe = Probe.model_validate({"httpGet": {"port": "web"}, "periodSeconds": 0, "failureThreshold": None})
    assert (probe.period_seconds, probe.timeout_seconds, probe.success_threshold, probe.failure_threshold) == (10, 1, 1, 3)
    assert probe.initial_delay_seconds == 0
    assert probe.http_get.port == "web"


def test_a_pod_template_ignores_what_does_not_bear_on_services():
    deployment = Deployment.model_validate(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "creationTimestamp": None},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": "x", "resources": {"limits": {"cpu": 1}}, "env": None}]},
                },
            },
        }
    )
    assert deployment.replicas == 1
    assert deployment.spec.pod_selector.matches({"app": "web", "pod-template-hash": "1"})
    assert deployment.spec.template.spec.termination_grace_period_seconds == 30


def test_selectors_default_to_the_labels_of_the_template():
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {}}
    controller = ReplicationController.model_validate({"metadata": {"name": "rc"}, "spec": {"template": template}})
    assert controller.spec.pod_selector.matches({"app": "web"})
    assert not controller.spec.pod_selector.matches({"app": "other"})


def test_readiness_is_the_ready_condition():
    status = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    pod = Pod.model_validate({"metadata": {"name": "p", "namespace": "d"}, "status": status})
    assert pod.is_ready
    assert pod.addresses == ("10.0.0.1",)


def test_the_beta_form_of_an_ingress_reads_as_the_final_one():
    path = {"path": "/x", "backend": {"serviceName": "s", "servicePort": "http"}}
    beta = Ingress.model_validate(
        {
            "apiVersion": "extensions/v1beta1",
            "kind": "Ingress",
            "metadata": {"name": "i"},
            "spec": {
                "backend": {"serviceName": "all", "servicePort": 80},
                "rules": [{"host": "a.b", "http": {"paths": [path]}}],
            },
        }
    )
    assert beta.spec.default_backend.service.port.number == 80
    assert beta.spec.rules[0].http.paths[0].backend.service.port.name == "http"


def test_an_unknown_field_of_an_ingress_is_an_error():
    with pytest.raises(ValidationError):
        Ingress.model_validate({"metadata": {"name": "i"}, "spec": {"rule": []}})


def test_kinds_are_found_by_version_and_by_what_people_call_them():
    assert kind_of("apps/v1", "Deployment") is kind_named("deploy")
    assert kind_of("extensions/v1beta1", "Ingress") is kind_named("ing")
    assert kind_of("v1", "Deployment") is None
    assert not kind_of("v1", "Node").namespaced


@pytest.mark.parametrize(
    ("version", "kind"),
    [("v1", "ConfigMap"), ("rbac.authorization.k8s.io/v1", "Role"), ("networking.istio.io/v1alpha3", "VirtualService"),
     ("policy/v1beta1", "PodSecurityPolicy"), ("networking.k8s.io/v1", "NetworkPolicy"),
     ("autoscaling/v2", "HorizontalPodAutoscaler")],
)
def test_kinds_without_a_bearing_on_services_are_known(version, kind):
    assert has_no_bearing(version, kind)


@pytest.mark.parametrize(("version", "kind"), [("v1", "Servcie"), ("apps/v1", "Deploymnet"), ("networking.k8s.io/v1", "Ingres")])
def test_a_misspelt_kind_is_not_taken_for_one_without_bearing(version, kind):
    assert kind_of(version, kind) is None
    assert not has_no_bearing(version, kind)
    assert "Deployment" in known_kinds()
