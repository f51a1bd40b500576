"""The scenario file: one YAML file, no code, that declares a cluster, its traffic, what goes wrong and what is expected.

`load` reads one and reports every mistake with its line; `variants` expands its comparison; `resolved_yaml` writes the single
file that alone reproduces the run; `json_schema` describes it to an editor.
"""

from svcsim.scenario.expansion import Variant, variants
from svcsim.scenario.loader import load, loads
from svcsim.scenario.model import Scenario
from svcsim.scenario.resolved import resolved_yaml
from svcsim.scenario.schema import json_schema

__all__ = ["Scenario", "Variant", "json_schema", "load", "loads", "resolved_yaml", "variants"]
