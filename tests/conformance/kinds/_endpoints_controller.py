"""Cases of the kind `endpoints` about the Endpoints controller."""

from __future__ import annotations

import itertools

from svcsim.kube.api.endpoints import Endpoints, EndpointSubset
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.service_pods import endpoint_address_of, is_managed, selects, subset_ports
from svcsim.kube.controllers.subsets import desired_endpoints, truncate
from svcsim.linux.address import is_ipv6, parse_address
from tests.conformance.kinds._endpoints_objects import endpoints_of, pod_of, pods_of, service_of


def _is_synced(given: dict) -> bool:
    return all(given.get(name, True) for name in ("podsSynced", "servicesSynced", "endpointsSynced"))


def _existing(given: dict) -> Endpoints | None:
    rows = given.get("existingEndpoints", "absent")
    if rows == "absent":
        return None
    return endpoints_of(rows, given.get("existingLabels"), given.get("existingAnnotations"))


def _sync(given: dict) -> tuple[str | None, Endpoints | None]:
    """What a sync of the Service writes: the verb and the object, nothing when there is nothing to write."""
    existing = _existing(given)
    if not _is_synced(given):
        return None, None
    if given["service"] is None:
        return ("delete" if existing is not None else None), None
    service = service_of(given["service"])
    selector = given["service"].get("selector", {"foo": "bar"})
    everything = selector == {}
    if service.spec.type == "ExternalName" or not (everything or is_managed(service)):
        return None, None
    pods = [pod_of(row) for row in given["pods"]]
    chosen = [pod for pod in pods if everything or selects(service, pod.metadata.labels)]
    wanted = desired_endpoints(service, chosen, existing)
    return (None if wanted is None else "create" if existing is None else "update"), wanted


def _plain(subset: EndpointSubset) -> dict:
    made = {
        "addresses": [each.ip for each in subset.addresses],
        "notReadyAddresses": [each.ip for each in subset.not_ready_addresses],
    }
    ports = [
        {"port": port.port, "protocol": port.protocol, **({"name": port.name} if port.name else {})} for port in subset.ports
    ]
    return {**{name: ips for name, ips in made.items() if ips}, "ports": ports}


def check_sync(given: dict, expect: dict) -> None:
    verb, written = _sync(given)
    assert int(verb is not None) == expect["writes"], verb
    if "verb" in expect:
        assert verb == expect["verb"]
    if "subsets" in expect:
        assert written is not None
        assert [_plain(subset) for subset in written.subsets] == [
            {**row, "ports": row.get("ports", [])} for row in expect["subsets"]
        ]
    if "labels" in expect:
        assert written is not None
        assert written.metadata.labels == expect["labels"]


def check_addresses(given: dict, expect: dict) -> None:
    _, written = _sync(given)
    subsets = written.subsets if written is not None else ()
    assert sum(len(subset.addresses) for subset in subsets) == expect["ready"]
    assert sum(len(subset.not_ready_addresses) for subset in subsets) == expect["notReady"]


def check_over_capacity(given: dict, expect: dict) -> None:
    ready, others = given["readyPods"], given["notReadyPods"]
    rows = pods_of(ready) + pods_of(others, start=ready, ready=False)
    annotation = given["existingAnnotation"]
    annotations = {"endpoints.kubernetes.io/over-capacity": annotation} if annotation else None
    before = [{"addresses": [row["ip"] for row in pods_of(given["existingReady"])], "ports": [{"port": 8080}]}]
    existing = endpoints_of(before, None, annotations)
    written = desired_endpoints(service_of({}), [pod_of(row) for row in rows], existing, given["maxCapacity"])
    result = written or existing
    assert sum(len(subset.addresses) for subset in result.subsets) == expect["ready"]
    assert sum(len(subset.not_ready_addresses) for subset in result.subsets) == expect["notReady"]
    assert result.metadata.annotations == expect["annotations"]


def check_truncate(given: dict, expect: dict) -> None:
    numbers = itertools.count(1)

    def addresses(count: int) -> list[dict]:
        return [{"ip": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"} for n in itertools.islice(numbers, count)]

    subsets = tuple(
        EndpointSubset.model_validate({"addresses": addresses(ready), "notReadyAddresses": addresses(others)})
        for ready, others in zip(given["subsetsReady"], given["subsetsNotReady"], strict=True)
    )
    made, _ = truncate(subsets, given["maxCapacity"])
    assert [len(subset.addresses) for subset in made] == expect["subsetsReady"]
    assert [len(subset.not_ready_addresses) for subset in made] == expect["subsetsNotReady"]


def check_pod_address(given: dict, expect: dict) -> None:
    texts = {"v4": "1.2.3.4", "v6": "2000::0:0:1"}
    families = given["pod"]["podIPs"].split(",")
    row = given["service"]
    cluster_ip = "None" if row["headless"] else {"IPv4": "10.0.0.10", "IPv6": "fd00::10"}[(row["ipFamilies"] or ["IPv4"])[0]]
    service: Service = service_of({"ipFamilies": row["ipFamilies"], "clusterIP": row.get("clusterIP", cluster_ip)})
    pod = pod_of({"name": "pod0", "podIPs": [texts[family] for family in families]})
    address = endpoint_address_of(pod, service)
    if expect.get("error"):
        assert address is None
        return
    assert address is not None
    assert ("v6" if is_ipv6(parse_address(address.ip)) else "v4") == expect["addressFamily"]


def check_app_protocol(given: dict, expect: dict) -> None:
    port = {"port": given["port"], "appProtocol": given["serviceAppProtocol"]}
    (made,) = subset_ports(service_of({"ports": [port]}), pod_of({"name": "pod0", "ip": "10.0.0.1"}))
    assert made.app_protocol == expect["endpointsAppProtocol"]


def check_subsets_equal(given: dict, expect: dict) -> None:
    """Whether a sync writes nothing when only that differs."""
    difference = given["difference"]
    rows = [{"name": "pod0", "ip": "1.2.3.4"}, {"name": "pod1", "ip": "1.2.3.5", "ready": False}]
    service = service_of({})
    stored = desired_endpoints(service, [pod_of(row) for row in rows], None)
    assert stored is not None
    field, _, what = difference.partition(".")
    if "port" in difference:
        service = service_of({"ports": [{"port": 80, "targetPort": 8081}]})
    elif "subset" in field.lower():
        rows = []
    elif field == "targetRef":
        changed = {"resourceVersion": {"resourceVersion": 7}, "uid": {"uid": "other"}, "name": {"name": "other"}}
        assert what in changed, f"unknown difference: {difference}"
        rows = [{**row, **changed[what]} for row in rows]
    else:
        number = 1 if field.startswith("notReady") else 0
        values = {"ip": "1.2.3.9", "name": "other", "ready": number == 1, "nodeName": "other", "hostname": "other"}
        assert what in values, f"unknown difference: {difference}"
        rows[number] = {**rows[number], what: values[what]}
    again = desired_endpoints(service, [pod_of(row) for row in rows], stored)
    assert (again is None) == expect["equal"]


CHECKS = {
    "TestSyncServiceAddresses": check_addresses,
    "TestSyncServiceOverCapacity": check_over_capacity,
    "TestTruncateEndpoints": check_truncate,
    "TestPodToEndpointAddressForService": check_pod_address,
    "TestEndpointPortFromServicePort": check_app_protocol,
    "TestEndpointSubsetsEqualIgnoreResourceVersion": check_subsets_equal,
    "TestSyncServiceExternalNameType": check_sync,
    "TestWaitsForAllInformersToBeSynced2": check_sync,
}
SYNC_PREFIX = "TestSyncEndpoints"
