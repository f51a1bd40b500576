"""Validation of ObjectMeta: names, namespace, labels and annotations.

Source: k8s.io/apimachinery pkg/api/validation/objectmeta.go.
"""

from __future__ import annotations

from collections.abc import Callable

from svcsim.kube.validation.field_errors import FieldError, Path, invalid, required
from svcsim.kube.validation.names import dns1123_label, generated, label_value, qualified_name
from svcsim.kube.validation.reading import Manifest, mapping, text

ANNOTATIONS_MAX_BYTES = 256 * 1024

METADATA = Path("metadata")


def validate_labels(labels: Manifest, path: Path) -> list[FieldError]:
    """Keys are qualified names, values label values."""
    errors = []
    for key, value in labels.items():
        errors += [invalid(path, f"{key!r}: {problem}") for problem in qualified_name(str(key))]
        errors += [invalid(path, problem) for problem in label_value(str(value))]
    return errors


def validate_annotations(annotations: Manifest, path: Path) -> list[FieldError]:
    """Keys are qualified names in any letter case; all together at most 256 KiB."""
    errors = []
    size = 0
    for key, value in annotations.items():
        errors += [invalid(path, f"{key!r}: {problem}") for problem in qualified_name(str(key).lower())]
        size += len(str(key).encode()) + len(str(value).encode())
    if size > ANNOTATIONS_MAX_BYTES:
        errors.append(FieldError("TooLong", str(path), f"may not be more than {ANNOTATIONS_MAX_BYTES} bytes"))
    return errors


def validate_metadata(metadata: Manifest, name_rule: Callable[[str], list[str]]) -> list[FieldError]:
    """The metadata of a namespaced object whose name follows `name_rule`."""
    errors = []
    if prefix := text(metadata, "generateName"):
        errors += [invalid(METADATA.child("generateName"), problem) for problem in name_rule(generated(prefix))]
    name = text(metadata, "name")
    if name:
        errors += [invalid(METADATA.child("name"), problem) for problem in name_rule(name)]
    else:
        errors.append(required(METADATA.child("name"), "name or generateName"))
    namespace = text(metadata, "namespace")
    if namespace:
        errors += [invalid(METADATA.child("namespace"), problem) for problem in dns1123_label(namespace)]
    else:
        errors.append(required(METADATA.child("namespace")))
    errors += validate_labels(mapping(metadata, "labels"), METADATA.child("labels"))
    errors += validate_annotations(mapping(metadata, "annotations"), METADATA.child("annotations"))
    return errors


def validate_metadata_update(new: Manifest, old: Manifest) -> list[FieldError]:
    """What of the metadata may not change, and the resource version that an update must name."""
    errors = []
    if not new.get("resourceVersion"):
        errors.append(invalid(METADATA.child("resourceVersion"), "must be specified for an update"))
    errors += [
        invalid(METADATA.child(field), "field is immutable")
        for field in ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp")
        if (new.get(field) or None) != (old.get(field) or None)
    ]
    errors += validate_labels(mapping(new, "labels"), METADATA.child("labels"))
    errors += validate_annotations(mapping(new, "annotations"), METADATA.child("annotations"))
    return errors
