"""Request records as a columnar file: NumPy's `.npz`, or Parquet where pyarrow is installed.

Either stands alone: it carries the names that its indices mean. The same records give the same bytes.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from svcsim.errors import UsageError
from svcsim.results.records import COLUMNS, Requests
from svcsim.results.selection import Names

_NAMES = "names.json"
_SAMPLE_ROWS = 8192


def _names_text(names: Names) -> str:
    return json.dumps(
        {
            "workloads": names.workloads,
            "endpoints": names.endpoints,
            "nodes": names.nodes,
            "endpoints_of": names.endpoints_of,
            "homes": names.homes,
        }
    )


def _names_from(text: str) -> Names:
    loaded = json.loads(text)
    return Names(
        tuple(loaded["workloads"]),
        tuple(loaded["endpoints"]),
        tuple(loaded["nodes"]),
        tuple(tuple(indices) for indices in loaded["endpoints_of"]),
        tuple(loaded.get("homes", ())),
    )


def write_npz(path: Path, requests: Requests, names: Names) -> None:
    """Write records that `numpy.load` reads: an array a column, and `names.json` beside them."""
    with zipfile.ZipFile(path, "w", compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo(_NAMES), _names_text(names))
        for name in COLUMNS:
            column = np.ascontiguousarray(requests.column(name))
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED if _shrinks(column) else zipfile.ZIP_STORED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, column, allow_pickle=False)


def _shrinks(column: NDArray[np.int64]) -> bool:
    """Whether compression is worth its time: random nanoseconds only halve, and slowly."""
    sample = column[:_SAMPLE_ROWS].tobytes()
    return len(zlib.compress(sample, 1)) * 3 < len(sample)


def read_npz(path: Path) -> tuple[Requests, Names]:
    """Read what `write_npz` wrote; KeyError, ValueError, OSError or BadZipFile if it isn't that."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        columns = {name: archive[name] for name in COLUMNS}
        names = archive[_NAMES]
    return Requests(columns), _names_from(bytes(names).decode())


def write_parquet(path: Path, requests: Requests, names: Names) -> None:
    """Write records as Parquet, the names in the schema's metadata; UsageError without pyarrow."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'svcsim[parquet]'") from None
    table = arrow.table({name: np.ascontiguousarray(requests.column(name)) for name in COLUMNS})
    table = table.replace_schema_metadata({"svcsim": _names_text(names)})
    parquet.write_table(table, path, compression="zstd")


def read_parquet(path: Path) -> tuple[Requests, Names]:
    """Read what `write_parquet` wrote; UsageError without pyarrow."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'svcsim[parquet]'") from None
    table = parquet.read_table(path)
    columns = {name: table.column(name).to_numpy() for name in COLUMNS}
    return Requests(columns), _names_from(table.schema.metadata[b"svcsim"].decode())
