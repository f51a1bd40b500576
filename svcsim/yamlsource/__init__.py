"""YAML and JSON text as plain data that remembers where everything stood.

The data holds dict, list, str, int, float, bool and None, nothing else: no tag makes an object. Scalars follow the core schema
of YAML 1.2, so `on`, `no`, `1:30` and `2024-01-01` stay strings. Text is read as a stream of events and built without
recursion, each limit is checked while it is read, so hostile input ends in an `InputError` after bounded work: duplicate keys,
alias bombs, deep nesting, huge files and numbers, NaN and infinities, binary data.

>>> [document] = parse("a:\\n  b: [1, yes]", "x.yaml")
>>> document.root, document.position(("a", "b", 1))
({'a': {'b': [1, 'yes']}}, (2, 10))
"""

from svcsim.yamlsource.building import MAX_DEPTH, MAX_PROBLEMS
from svcsim.yamlsource.places import DataPath, Document, Position, path_text
from svcsim.yamlsource.reading import load, mappings, parse, scalar
from svcsim.yamlsource.scalars import WrittenFloat, reads_as_text
from svcsim.yamlsource.text import Text, decode, read

__all__ = [
    "MAX_DEPTH", "MAX_PROBLEMS", "DataPath", "Document", "Position", "Text", "WrittenFloat", "decode", "load", "mappings",
    "parse", "path_text", "read", "reads_as_text", "scalar",
]
