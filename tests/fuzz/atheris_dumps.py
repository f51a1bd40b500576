"""`python tests/fuzz/atheris_dumps.py CORPUS [libFuzzer options]`: mutate dumps as coverage leads, until a reader fails.

A text that makes it fail is left as `crash-…` (`-artifact_prefix=` says where).
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["svcsim.linux"]):
    from tests.fuzz.seeds import try_out


def one_input(content: bytes) -> None:
    try_out(content)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
