"""Tests against the host's own kernel: skipped, with the reason, where it cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from tests.kernel.namespaces import Namespace, Network, missing

why_not = lru_cache(maxsize=1)(missing)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A fresh network namespace."""
    if reason := why_not():
        pytest.skip(reason)
    fresh = Namespace()
    yield fresh
    fresh.close()


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A node with pods and a world outside; tests of a module share it and load rules of their own."""
    if reason := why_not():
        pytest.skip(reason)
    built = Network()
    yield built
    built.close()
