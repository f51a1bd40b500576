"""The readers of dumps survive any bytes: they read them, or say in a line each what is wrong and where."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds, try_out

SECONDS = 8
SEEDS = seeds()
LINES = sorted({line for seed in SEEDS for line in seed.splitlines(keepends=True)})
WORDS = sorted({word for line in LINES for word in line.split()})


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_texts_of_each_kind_are_read(seed: bytes) -> None:
    assert try_out(seed) is not None


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try_out(content)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.sampled_from(LINES), max_size=25))
def test_lines_in_any_order_are_read_or_refused(lines: list[bytes]) -> None:
    try_out(b"".join(lines))


@settings(max_examples=60, deadline=None)
@given(
    head=st.sampled_from([b"*nat\n:KUBE-SERVICES - [0:0]\n-A PREROUTING ", b"table ip x {\n\tchain y {\n\t\t", b""]),
    words=st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=6)), max_size=20),
    tail=st.sampled_from([b"\nCOMMIT\n", b"\n\t}\n}\n", b""]),
)
def test_words_in_any_order_are_read_or_refused(head: bytes, words: list[bytes], tail: bytes) -> None:
    try_out(head + b" ".join(words) + tail)


@settings(max_examples=60, deadline=None)
@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_texts_with_something_else_in_them_are_read_or_refused(seed: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(seed)))
    end = data.draw(st.integers(start, min(len(seed), start + 40)))
    try_out(seed[:start] + data.draw(st.one_of(st.binary(max_size=12), st.sampled_from(WORDS))) + seed[end:])


def test_atheris_finds_nothing_in_a_bounded_run(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed (it has wheels for Linux on x86-64 alone)")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS):
        (corpus / str(number)).write_bytes(seed)
    script = Path(__file__).with_name("atheris_dumps.py")
    done = subprocess.run(
        [sys.executable, str(script), str(corpus), f"-max_total_time={SECONDS}", "-timeout=10", f"-artifact_prefix={tmp_path}/"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "Done" in done.stdout + done.stderr
