"""What a command line changes of a scenario: `--set PATH=VALUE`, `--seed`, `--replications`, `--mode`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from svcsim.errors import UsageError


def overrides_of(
    settings: Sequence[str], *, seed: int | None = None, replications: int | None = None, modes: Sequence[str] = ()
) -> dict[str, Any]:
    """Paths and values for `svcsim.scenario.loader.load`; UsageError for a setting without `=`.

    A value is read as YAML, so `--set cluster.nodes.count=5` is a number and `--set compare={}` an empty mapping, and
    `null` takes a value away. Modes are compared in place of those that the scenario compares; what else it compares stays.
    UsageError for a mode that there is not.

    >>> overrides_of(["run.duration=60s"], seed=7)
    {'run.duration': '60s', 'run.seed': 7}
    """
    from svcsim.scenario.modes import proxy_of
    from svcsim.yamlsource import scalar

    found: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise UsageError(f"--set takes PATH=VALUE, as in --set run.duration=60s (got {setting[:60]!r})")
        found[path.strip()] = scalar(text)
    if seed is not None:
        found["run.seed"] = seed
    if replications is not None:
        found["run.replications"] = replications
    if modes:
        found |= {f"compare[kubernetes.proxy.{part}]": None for part in ("mode", "scheduler", "backend")}
        found["compare[kubernetes.proxy]"] = {mode: proxy_of(mode, "--mode") for mode in modes}
    return found


def comparison_of(over: Sequence[str]) -> dict[str, Any]:
    """The override that compares these in place of what the scenario compares; nothing without any.

    Each is `PATH=VALUE,VALUE,…`, values read as YAML; a comma within brackets or quotes belongs to its value. Of
    `kubernetes.proxy` the values are modes, as `ipvs/lc`.

    >>> comparison_of(["cluster.nodes.count=3,6"])
    {'compare': {'cluster.nodes.count': [3, 6]}}
    """
    from svcsim.scenario.modes import compared

    axes: dict[str, Any] = {}
    for text in over:
        path, _, values = axis_of(text, "--over")
        if path in axes:
            raise UsageError(f"--over {path} is given twice")
        axes[path] = values
    return {"compare": compared(axes, "--over")} if axes else {}


def axis_of(text: str, option: str = "--set") -> tuple[str, str, list[Any]]:
    """The path of a `PATH=VALUE,VALUE,…`, the text of its values, and each of them; those of `kubernetes.proxy` are modes."""
    from svcsim.scenario.modes import values_at

    path, equals, listed = text.partition("=")
    path, values = path.strip(), values_of(listed)
    if not equals or not path or not values:
        example = f"{option} kubernetes.proxy=iptables,ipvs/rr"
        raise UsageError(f"{option} takes PATH=VALUE,VALUE,… as in {example} (got {text[:60]!r})")
    return path, listed, values_at(path, values, option)


def values_of(text: str) -> list[Any]:
    """The values of a list without brackets, each read as YAML.

    >>> values_of("10,100,'a,b'")
    [10, 100, 'a,b']
    """
    from svcsim.yamlsource import scalar

    return [scalar(part.strip()) for part in _split(text) if part.strip()]


def _split(text: str) -> list[str]:
    parts, depth, quote, start = [], 0, "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
