"""Data as YAML text that `svcsim.yamlsource.parse` reads back the same."""

from __future__ import annotations

import json
import re

import yaml

from svcsim.yamlsource import WrittenFloat, reads_as_text

_TAG = "tag:yaml.org,2002:"
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes what `parse` reads back: text that would read as another kind is quoted, nothing is shared by anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if text == "<<" or not reads_as_text(text) else None
    return dumper.represent_scalar(_TAG + "str", text, style=style)


def _write_float(dumper: yaml.SafeDumper, number: WrittenFloat) -> yaml.ScalarNode:
    return dumper.represent_scalar(_TAG + "float", number.text)


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(WrittenFloat, _write_float)


def dump(data: object) -> str:
    """Data as YAML text, keys in their order; `parse` gives the same data back."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)
    return text


def dump_line(data: object) -> str:
    """The same in one line, a hundred times faster: JSON, which YAML contains but for characters beyond 16 bits."""
    return _SURROGATES.sub(_joined, json.dumps(data, allow_nan=False))


def _joined(match: re.Match[str]) -> str:
    high, low = int(match.group(2), 16), int(match.group(3), 16)
    return f"{match.group(1)}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"
