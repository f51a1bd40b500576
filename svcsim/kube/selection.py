"""Label selectors as `kubectl -l` takes them: `app=web,tier!=db`, `app in (web, api)`, `!canary`.

Source: apimachinery pkg/labels/selector.go (Parse).
"""

from __future__ import annotations

import re

from svcsim.kube.api.base import LabelSelector, SelectorRequirement

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_EQUAL = re.compile(rf"\s*({_NAME})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)\s*")
_IN = re.compile(rf"\s*({_NAME})\s+(in|notin)\s*\(([^()]*)\)\s*")
_EXISTS = re.compile(rf"\s*(!?)\s*({_NAME})\s*")


def parse_selector(text: str) -> LabelSelector:
    """The selector that a text means; ValueError says what would be right.

    >>> parse_selector("app=web,tier notin (db)").matches({"app": "web"})
    True
    """
    found = []
    for part in _parts(text):
        if match := _IN.fullmatch(part):
            values = tuple(value.strip() for value in match.group(4).split(","))
            operator = "In" if match.group(3) == "in" else "NotIn"
            found.append(_requirement(match.group(1), operator, values))
        elif match := _EQUAL.fullmatch(part):
            operator = "NotIn" if match.group(3) == "!=" else "In"
            found.append(_requirement(match.group(1), operator, (match.group(4),)))
        elif match := _EXISTS.fullmatch(part):
            found.append(_requirement(match.group(2), "DoesNotExist" if match.group(1) else "Exists", ()))
        else:
            raise ValueError(f"not a label selector: {part.strip()[:60]!r} (write 'app=web,tier!=db' or 'app in (web, api)')")
    return LabelSelector(match_expressions=tuple(found))


def _requirement(key: str, operator: str, values: tuple[str, ...]) -> SelectorRequirement:
    return SelectorRequirement.model_validate({"key": key, "operator": operator, "values": values})


def _parts(text: str) -> list[str]:
    return re.split(r",(?![^(]*\))", text) if text.strip() else []
