"""The conformance runner: every vector is one test, nothing that is not known or not run counts as passed."""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance import kinds, vectors

SUITE = Path(__file__).parent / "conformance"


def run(cwd: Path, directory: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(SUITE), "--vectors", directory]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def write(directory: Path, text: str | bytes) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_an_unknown_kind_is_a_usage_error(tmp_path: Path) -> None:
    write(tmp_path / "v" / "no-such-kind" / "a.json", "{}")
    result = run(tmp_path, "v")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no-such-kind" in result.stderr


def test_broken_vectors_fail_with_their_file_and_their_reason(tmp_path: Path) -> None:
    folder = tmp_path / "v" / "ingress-paths"
    write(folder / "broken.json", '{"id": ')
    write(folder / "twice.json", '{"id": 1, "id": 2}')
    write(folder / "list.json", "[]")
    write(folder / "nan.json", '{"id": NaN}')
    write(folder / "cut.json.xz", lzma.compress(b"{}")[:-8])
    result = run(tmp_path, "v")
    assert result.returncode == pytest.ExitCode.TESTS_FAILED
    reasons = ("broken.json:1:8: not JSON", "'id' stands twice", "not list", "NaN is not", "cut.json.xz")
    for text in (*reasons, "5 failed"):
        assert text in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize("name", ["a/b/c.json", "a/b/c.json.xz"])
def test_cases_are_found_at_any_depth_and_compressed_or_not(tmp_path: Path, name: str) -> None:
    data = json.dumps({"id": 1}).encode()
    write(tmp_path / name, lzma.compress(data) if name.endswith("xz") else data)
    (case,) = vectors.find_cases(tmp_path, {"a"})
    assert case.id == "a/b/c"
    assert vectors.load(case.path) == {"id": 1}


def test_a_folder_without_vectors_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(vectors.VectorError, match="no vectors"):
        vectors.find_cases(tmp_path, {"a"})


def test_two_files_for_one_case_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b.json", "{}")
    write(tmp_path / "a" / "b.json.xz", lzma.compress(b"{}"))
    with pytest.raises(vectors.VectorError, match="two files"):
        vectors.find_cases(tmp_path, {"a"})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(vectors.MissingFieldError, match="'wanted'; there are: given"):
        vectors.Fields(given=1)["wanted"]


def test_the_own_copy_has_every_kind_and_stays_small() -> None:
    folder = SUITE / "vectors"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(kinds.discover())
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 5_000_000
