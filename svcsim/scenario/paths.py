"""Paths into a scenario, as `--set` and `compare` write them: `kubernetes.proxy.mode`, `workloads[web-load].timeout`,
`manifests[deployment/web].spec.replicas`. A list item is chosen by its place from 0, by its name, or by kind and name; a key
with dots in it stands in brackets, as in `compare[kubernetes.proxy]`.
"""

from __future__ import annotations

from typing import Any

from svcsim.spelling import nearest
from svcsim.yamlsource import DataPath

MAX_PATH = 500
LISTS = ("manifests", "workloads", "servers", "faults", "expect")
"""The lists of a scenario file, from which a path chooses an item."""

# Where a single value stands for a mapping, the field that it means.
_SHORTHANDS = {("kubernetes", "proxy"): "mode", ("cluster", "nodes"): "count", ("calibration",): "profile"}


def split(path: str) -> list[tuple[str, bool]]:
    """The steps of a path: (text, whether it chooses a list item). ValueError says what is wrong with it.

    >>> split("workloads[web-load].timeout")
    [('workloads', False), ('web-load', True), ('timeout', False)]
    """
    if not path or len(path) > MAX_PATH:
        raise ValueError("a path is expected, as 'kubernetes.proxy.mode'")
    steps: list[tuple[str, bool]] = []
    position = 0
    while position < len(path):
        if path[position] == "[":
            end = path.find("]", position)
            if end < 0 or end == position + 1:
                raise ValueError(f"not a path: {path!r} (a bracket is open or empty)")
            steps.append((path[position + 1 : end], True))
            position = end + 1
        else:
            if path[position] == "." and steps:
                position += 1
            end = min((at for at in (path.find(".", position), path.find("[", position)) if at >= 0), default=len(path))
            if end == position:
                raise ValueError(f"not a path: {path!r} (write 'kubernetes.proxy.mode' or 'workloads[0].timeout')")
            steps.append((path[position:end], False))
            position = end
    return steps


def set_value(data: dict[str, Any], path: str, value: Any) -> DataPath:
    """Change what stands at a path, in place; None removes it. Returns the path in the data.

    Mappings on the way are made where they are missing; ValueError where a list item does not exist.
    """
    steps = split(path)
    place: Any = data
    done: list[str | int] = []
    for number, (text, is_item) in enumerate(steps):
        last = number == len(steps) - 1
        key: str | int = text
        if isinstance(place, list) or (is_item and not (isinstance(place, dict) and not text.isdigit())):
            key = _item(place, text, path)
            if last:
                place[key] = value
            else:
                place[key] = place = _copied(place[key], (*done, key))
        elif not isinstance(place, dict):
            raise ValueError(f"{path!r} leads into a single value at {text!r}")
        elif last:
            if value is None:
                place.pop(text, None)
            else:
                place[text] = value
        else:
            if place.get(text) is None and not done and text in LISTS and steps[number + 1][1]:
                raise ValueError(f"{path!r}: the scenario has no {text} to choose {steps[number + 1][0]!r} from")
            place[text] = place = _copied(place.get(text), (*done, text))
        done.append(key)
    return tuple(done)


def _copied(value: Any, at: tuple[str | int, ...]) -> Any:
    """A copy of a container on the way, so that whoever shares it sees no change; a shorthand becomes the mapping it means."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list):
        return list(value)
    meant = _SHORTHANDS.get(tuple(str(step) for step in at))
    if meant is None:
        return value
    return {meant: value}


def _item(place: Any, text: str, path: str) -> int:
    if not isinstance(place, list):
        raise ValueError(f"{path!r}: there is no list in which to choose {text!r}")
    if text.isdigit() and len(text) < 8:
        if int(text) >= len(place):
            raise ValueError(f"{path!r}: there is no item {text} (there are {len(place)}, counted from 0)")
        return int(text)
    names = [_names(item) for item in place]
    found = [i for i, of_item in enumerate(names) if text in of_item]
    if len(found) != 1:
        if found:
            raise ValueError(f"{path!r}: {len(found)} items are called {text!r}")
        raise ValueError(f"{path!r}: no item is called {text!r}{nearest(text, (name for of in names for name in of))}")
    return found[0]


def _names(item: Any) -> tuple[str, ...]:
    """By which names an item can be chosen."""
    if not isinstance(item, dict):
        return ()
    metadata = item.get("metadata")
    if isinstance(metadata, dict) and "kind" in item:
        kind, name, namespace = str(item["kind"]).lower(), metadata.get("name"), metadata.get("namespace", "default")
        return (f"{kind}/{name}", f"{kind}/{namespace}/{name}")
    return (str(item["name"]),) if "name" in item else ()
