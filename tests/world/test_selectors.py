"""The index of selectors finds what asking every Service would find, whatever was added, changed or removed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from svcsim.engine.clock import Clock
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.store import Store
from svcsim.world.selectors import Selectors

labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)
kinds, namespaces = st.sampled_from(("put", "remove")), st.sampled_from(("n", "m"))
changes = st.lists(st.tuples(kinds, st.integers(0, 4), namespaces, labels), max_size=12)


def service(number: int, namespace: str, selector: dict[str, str]) -> Service:
    spec = {"selector": selector, "ports": [{"port": 80}]}
    return Service.model_validate({"metadata": {"name": f"s{number}", "namespace": namespace}, "spec": spec})


def change(store: Store, kind: str, obj: Service) -> None:
    present = store.get(Service, obj.metadata.key)
    if kind == "remove":
        if present is not None:
            store.delete(Service, obj.metadata.key)
    elif present is None:
        store.create(obj)
    else:
        store.update(present.model_copy(update={"spec": obj.spec}))


@settings(max_examples=60)
@given(changes, changes, labels)
def test_the_index_finds_what_asking_each_service_finds(before, after, wanted) -> None:
    store = Store(Clock())
    selectors = Selectors(store)
    pod = Pod.model_validate({"metadata": {"name": "p", "namespace": "n", "labels": wanted}, "spec": {"containers": [{}]}})
    for part in (before, after):
        for kind, number, namespace, selector in part:
            change(store, kind, service(number, namespace, selector))
        expected = {
            each.metadata.key for each in store.each(Service)
            if each.metadata.namespace == "n" and each.spec.selector and each.spec.selector.items() <= wanted.items()
        }
        found = [each.metadata.key for each in selectors.of(pod)]
        assert set(found) == expected
        assert len(found) == len(expected)
