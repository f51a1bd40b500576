"""Each conformance vector, as a test of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance import kinds, vectors


def test_vector(
    case: vectors.Case, runner: kinds.Runner | None, record_property: Callable[[str, object], None]
) -> None:
    record_property("conformance-kind", case.kind)
    try:
        vector = vectors.load(case.path)
    except vectors.VectorError as error:
        pytest.fail(str(error), pytrace=False)
    if runner is None:
        record_property("conformance-outcome", "pending")
        pytest.skip(f"kind {case.kind} is pending")
    optional = vector.get("optional") is True
    try:
        runner(vector)
    except vectors.MissingFieldError as error:
        pytest.fail(f"{case.path}: {error}", pytrace=False)
    except AssertionError as error:
        if not optional:
            raise
        record_property("conformance-outcome", "optional failed")
        pytest.xfail(f"optional: {error}")
    if optional:
        record_property("conformance-outcome", "optional passed")
