"""Comparing field errors with those of a vector."""

from __future__ import annotations

from svcsim.kube.validation.field_errors import FieldError


def check_errors(errors: list[FieldError], expect: dict) -> None:
    told = [str(error) for error in errors]
    assert sorted((error.type, error.field) for error in errors) == sorted(
        (row["type"], row["field"]) for row in expect["errors"]
    ), told
    assert len(errors) == expect["num_errors"], told
    assert (not errors) == expect["accepted"], told
