"""Tests against the host's own kernel: skipped, with the reason, where it cannot be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.settings import ProxySettings
from tests.kernel.cluster import LISTENED
from tests.kernel.comparison import Bench
from tests.kernel.namespaces import Namespace, missing
from tests.kernel.network import PLANS, Network
from tests.kernel.programmed import Programmed
from tests.kernel.traffic import Traffic


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A fresh network namespace."""
    if reason := missing():
        pytest.skip(reason)
    fresh = Namespace()
    yield fresh
    fresh.close()


@pytest.fixture(scope="session")
def traffic() -> Iterator[Traffic]:
    """A node with pods, other nodes and a world outside; tests share it and load rules of their own."""
    if reason := missing():
        pytest.skip(reason)
    network = Network()
    built = Traffic(network, LISTENED)
    yield built
    built.close()
    network.close()


@pytest.fixture
def bench(traffic: Traffic) -> Iterator[Callable[..., Bench]]:
    """Makes a `Bench`: programmes the node in svcsim and in the kernel, in place of what was there."""

    def programme(
        backend: str, node: ProxySettings, objects: list[Service | EndpointSlice], *, reads_back: bool = False
    ) -> Bench:
        traffic.network.forget()
        programmed = Programmed.of(backend, node, objects)
        programmed.load(traffic.network.node)
        read_back = programmed.read_back(programmed.saved(traffic.network.node)) if reads_back else None
        return Bench(PLANS[node.family], programmed, traffic, read_back)

    yield programme
    traffic.network.forget()
