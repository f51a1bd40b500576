"""Hand-made Endpoints are mirrored once and then left alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.api.endpoints import Endpoints, EndpointSlice, EndpointSubset
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.endpoint_subsets import repack_subsets
from svcsim.kube.controllers.endpointslice_mirroring import MirrorPlan, mirror, should_mirror


def endpoints(subsets: list[dict], **metadata: object) -> Endpoints:
    return Endpoints.model_validate({"metadata": {"name": "db", "namespace": "x", **metadata}, "subsets": subsets})


def applied(plan: MirrorPlan, existing: list[EndpointSlice]) -> list[EndpointSlice]:
    gone = {each.metadata.name for each in plan.delete + plan.update}
    named = [
        each.model_copy(update={"metadata": each.metadata.model_copy(update={"name": f"db-{number}"})})
        for number, each in enumerate(plan.create, start=len(existing))
    ]
    return [each for each in existing if each.metadata.name not in gone] + plan.update + named


ips = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"]).map(lambda ip: {"ip": ip})
ports = st.sampled_from([{"name": "a", "port": 1}, {"name": "b", "port": 2}])
unique = {"unique_by": str}
subset = st.fixed_dictionaries(
    {
        "addresses": st.lists(ips, max_size=3, **unique),
        "notReadyAddresses": st.lists(ips, max_size=2, **unique),
        "ports": st.lists(ports, min_size=1, max_size=2, **unique),
    }
)


@given(st.lists(subset, max_size=3), st.lists(subset, max_size=3))
def test_mirroring_twice_writes_once(before: list[dict], after: list[dict]) -> None:
    first = applied(mirror(endpoints(before), []), [])
    second = applied(mirror(endpoints(after), first), first)
    again = mirror(endpoints(after), second)
    assert not again.create + again.update + again.delete


def expanded(subsets: tuple[EndpointSubset, ...]) -> dict[tuple[str, str], bool]:
    found: dict[tuple[str, str], bool] = {}
    for each in subsets:
        for ready, some in ((True, each.addresses), (False, each.not_ready_addresses)):
            for address in some:
                for port in each.ports or (None,):
                    key = address.ip, port.name if port else ""
                    found[key] = ready and found.get(key, True)
    return found


@given(st.lists(subset, max_size=4))
def test_repacking_keeps_each_address_and_port(subsets: list[dict]) -> None:
    given_subsets = endpoints(subsets).subsets
    packed = repack_subsets(given_subsets)
    assert expanded(packed) == expanded(given_subsets)
    assert repack_subsets(packed) == packed


def test_only_endpoints_of_a_service_without_selector_are_mirrored() -> None:
    service = Service.model_validate({"metadata": {"name": "db", "namespace": "x"}})
    selecting = Service.model_validate({"metadata": {"name": "db"}, "spec": {"selector": {"a": "b"}}})
    made = endpoints([])
    assert should_mirror(made, service)
    assert not should_mirror(made, selecting)
    assert not should_mirror(made, None)
    assert not should_mirror(endpoints([], labels={"endpointslice.kubernetes.io/skip-mirror": "true"}), service)
