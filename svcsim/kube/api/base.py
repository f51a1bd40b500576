"""What all API objects share: camelCase on the wire, ObjectMeta, label selectors.

Objects are values: `model_copy(update=...)` makes a changed one. `Strict` objects refuse a field that the API does not have;
`Lenient` ones (pod templates and their like) ignore what svcsim does not need.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Strict(BaseModel):
    """An API object in which an unknown field is an error."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Lenient(BaseModel):
    """An API object of which svcsim reads only what bears on Services."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


def _none_is_empty(value: object) -> object:
    return {} if value is None else value


def _none_is_empty_list(value: object) -> object:
    return [] if value is None else value


StrMap = Annotated[dict[str, str], BeforeValidator(_none_is_empty)]
NoneAsEmpty = BeforeValidator(_none_is_empty_list)


class OwnerReference(Lenient):
    """Who manages an object."""

    api_version: str = ""
    kind: str
    name: str
    uid: str = ""
    controller: bool = False


class ObjectMeta(Lenient):
    """Name, namespace, labels and life-cycle of an object. Times are simulated nanoseconds; text times of a dump are dropped."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    labels: StrMap = Field(default_factory=dict)
    annotations: StrMap = Field(default_factory=dict)
    uid: str = ""
    resource_version: int = 0
    owner_references: Annotated[tuple[OwnerReference, ...], NoneAsEmpty] = ()
    finalizers: Annotated[tuple[str, ...], NoneAsEmpty] = ()
    creation_ns: int = 0
    deletion_ns: int | None = None
    deletion_grace_period_seconds: int | None = None

    @property
    def key(self) -> str:
        """`namespace/name`, the name of an object within its kind."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class SelectorRequirement(Lenient):
    """One `matchExpressions` entry of a label selector."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Annotated[tuple[str, ...], NoneAsEmpty] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether labels meet this requirement (apimachinery pkg/labels/selector.go)."""
        if self.operator == "In":
            return labels.get(self.key) in self.values
        if self.operator == "NotIn":
            return labels.get(self.key) not in self.values
        return (self.key in labels) == (self.operator == "Exists")


class LabelSelector(Lenient):
    """`matchLabels` and `matchExpressions`, all of which must hold; an empty selector matches everything."""

    match_labels: StrMap = Field(default_factory=dict)
    match_expressions: Annotated[tuple[SelectorRequirement, ...], NoneAsEmpty] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )
