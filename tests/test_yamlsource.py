"""YAML is read as plain data with places, and hostile text ends in an InputError after bounded work."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.errors import InputError, UsageError
from svcsim.yamldump import dump, dump_line
from svcsim.yamlsource import MAX_DEPTH, MAX_PROBLEMS, WrittenFloat, decode, parse, path_text, read, scalar


def only(text: str) -> object:
    [document] = parse(text, "x.yaml")
    return document.root


def mistakes(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse(text, "x.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("text", ["on", "off", "yes", "no", "y", "1:30", "2024-01-01", "12:00:00", "0b1", "1_000", "=", "NaN"])
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(text: str) -> None:
    assert only(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("null", None), ("~", None), ("12", 12), ("-7", -7), ("0x1f", 31), ("0o17", 15),
     ("012", 12), ("1.5", 1.5), ("1e3", 1000.0), ("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ("!!float 1", 1)],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = only(f"[{text}]")
    assert found == [value]
    assert isinstance(found, list)
    assert isinstance(found[0], type(value))


def test_a_float_remembers_how_it_was_written() -> None:
    value = only("1.30")
    assert isinstance(value, WrittenFloat)
    assert (value, value.text) == (1.3, "1.30")


def test_each_value_and_key_has_its_place() -> None:
    [document] = parse("a:\n  - b: 1\n    c: [x, y]\n", "x.yaml")
    assert document.position(("a", 0, "c", 1)) == (3, 12)
    assert document.key_position(("a", 0, "c")) == (3, 5)
    assert document.position(("a", 0, "nothing", "there")) == (2, 5)


def test_several_documents_are_told_apart_and_empty_ones_left_out() -> None:
    documents = parse("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n", "x.yaml")
    assert [document.root for document in documents] == [{"a": 1}, {"b": 2}]
    assert documents[1].position(("b",)) == (7, 4)


def test_json_is_read_too() -> None:
    data = {"a": [1, 2.5, None, True, "ü😀\n\t/"], "b": {"c": []}}
    assert only(json.dumps(data)) == data
    assert only(json.dumps(data, indent="\t")) == data


def test_anchors_and_merge_keys_work() -> None:
    text = "base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\nsame: *b\n"
    assert only(text) == {"base": {"x": 1, "y": 2}, "more": {"y": 3, "x": 1}, "same": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3:1: a: the key 'a' stands twice in this mapping (first in line 1)"),
        ("a: .nan", "x.yaml:1:4: a: .nan is not a number to compute with"),
        ("a: [1, -.inf]", "x.yaml:1:8: a[1]: -.inf is not a number to compute with"),
        ("a: 1e999", "x.yaml:1:4: a: the number 1e999 is too large"),
        (f"a: {'9' * 5000}", "x.yaml:1:4: a: the number 99999999999999999999… is beyond the limit of 9223372036854775807"),
        ("a: !!python/object:os.system x", "x.yaml:1:4: a: the tag !!python/object:os.system is not allowed"
         " (plain mappings, lists and values only)"),
        ("a: !!int x", "x.yaml:1:4: a: 'x' is no !!int"),
        ("a: !own {b: 1}", "x.yaml:1:4: a: the tag !own is not allowed (plain mappings, lists and values only)"),
        ("? [a, b]\n: 1", "x.yaml:1:3: a mapping or list cannot be a key"),
        ("~: 1", "x.yaml:1:1: a key is missing before the colon"),
        ("a: *b", "x.yaml:1:4: a: the alias *b refers to nothing above it"),
        ("a: &a [*a]", "x.yaml:1:8: a[0]: the alias *a stands inside what it refers to"),
        ("", "x.yaml:1:1: the file is empty"),
        ("# only a comment\n", "x.yaml:1:1: the file is empty"),
        ("a: b: c", "x.yaml:1:5: not valid YAML: mapping values are not allowed in this context"),
        ("a: [{at: 1s, kill: deployment/web[1]}]",
         "x.yaml:1:34: not valid YAML: a value with brackets stands in quotes here: 'deployment/web[1]'"),
        ("a:\n\t- b",
         "x.yaml:2:1: not valid YAML: a tab cannot indent; use spaces"),
    ],
)
def test_each_mistake_is_one_line_with_its_place(text: str, message: str) -> None:
    assert mistakes(text) == [message]


def test_mistakes_are_reported_together_up_to_a_limit() -> None:
    assert len(mistakes("a: .nan\nb: .inf\nb: 1e999\n")) == 4
    assert len(mistakes("".join(f"k{i}: .nan\n" for i in range(1000)))) == MAX_PROBLEMS


def test_mistakes_that_leave_the_structure_intact_can_be_set_aside() -> None:
    minor: list = []
    [document] = parse("a: .nan\nb: 1\n", "x.yaml", minor)
    assert document.root == {"a": 0, "b": 1}
    assert [problem.line for problem in minor] == [1]
    with pytest.raises(InputError):
        parse("a: .nan\nb: [", "x.yaml", minor)


@pytest.mark.parametrize("bomb", [
    "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)),
    "a: &a {x: 1}\n" + "".join(f"m{i}: &m{i} {{p: *{'a' if not i else f'm{i - 1}'}, q: *{'a' if not i else f'm{i - 1}'}}}\n"
                                for i in range(60)),
])
def test_an_alias_bomb_is_refused_at_once(bomb: str) -> None:
    began = time.process_time()
    [message] = mistakes(bomb)
    assert "aliases stand for more than" in message
    assert time.process_time() - began < 1


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000 + "x", "a:\n" + "".join(
    " " * i + f"b{i}:\n" for i in range(1, 2000))])
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    began = time.process_time()
    [message] = mistakes(text)
    assert "deep" in message or "nest" in message
    assert time.process_time() - began < 1


def test_nesting_is_allowed_up_to_the_limit() -> None:
    assert only("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert "nested deeper" in mistakes("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))[0]
    deep = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40
    assert "nested deeper" in mistakes(deep)[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: \xff", "2:4: not a text file (its bytes are not UTF-8)"),
        (b"\x7fELF\x02\x01\0\0", "1:7: not a text file (it holds a NUL byte)"),
        (b"\x89PNG\r\n", "1:1: not a text file"),
    ],
)
def test_binary_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=r"x\.yaml") as caught:
        decode(data, "x.yaml")
    assert message in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_with_a_mark_is_read(encoding: str) -> None:
    assert decode("a: ü".encode(encoding), "x.yaml") == "a: ü"


def test_a_file_that_cannot_be_read_is_said_so(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match=r"cannot read .*: Is a directory"):
        read(tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        read("a\0b")


def test_an_endless_file_is_refused_by_its_size(monkeypatch) -> None:
    monkeypatch.setattr("svcsim.yamlsource.text.MAX_FILE_BYTES", 1 << 16)
    with pytest.raises(InputError, match="larger than the limit"):
        read("/dev/zero")


def test_paths_are_written_for_people() -> None:
    assert path_text(("spec", "ports", 0, "name")) == "spec.ports[0].name"
    assert path_text(("compare", "kubernetes.proxy", 1)) == "compare['kubernetes.proxy'][1]"


def test_a_value_of_the_command_line_is_read_as_yaml() -> None:
    assert [scalar(text) for text in ("4", "true", "1s", "[a, 1]", "{a: b}", "a: b: c")] == [
        4, True, "1s", ["a", 1], {"a": "b"}, "a: b: c"]


def read_or_told(data: bytes) -> list:
    """The documents, or the mistakes: nothing else may come of any input."""
    try:
        return parse(decode(data, "x.yaml"), "x.yaml")
    except InputError as error:
        return error.problems


@given(st.text(max_size=300))
def test_any_text_is_read_or_its_mistakes_are_told(text: str) -> None:
    assert read_or_told(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_their_mistakes_told(data: bytes) -> None:
    assert read_or_told(data)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.text(max_size=12)
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(TREES.filter(lambda tree: tree is not None))
def test_what_is_written_is_read_back_the_same(tree: object) -> None:
    [document] = parse(dump(tree), "x.yaml")
    assert document.root == tree
    assert type(document.root) is type(tree) or isinstance(document.root, float)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=30), min_size=1))
def test_json_and_yaml_give_the_same_data(data: dict) -> None:
    assert only(json.dumps(data)) == data


def test_only_a_plain_merge_key_merges() -> None:
    assert only("a: &a {x: 1}\nb: {<<: *a}\nc: {'<<': *a}") == {"a": {"x": 1}, "b": {"x": 1}, "c": {"<<": {"x": 1}}}
    assert only("a: &a {x: 1}\nc: &c {y: 2}\nb: {<<: [*a, *c]}") == {"a": {"x": 1}, "c": {"y": 2}, "b": {"x": 1, "y": 2}}
    assert mistakes("a: {<<: 5}") == ["x.yaml:1:4: a: '<<' merges mappings only"]


@given(TREES)
def test_what_is_written_in_a_line_is_read_back_the_same(tree: object) -> None:
    assert only(f"- {dump_line(tree)}\n") == [tree]
    assert only(f"- {dump_line(['😀', chr(92) + 'ud83d' + chr(92) + 'ude00', chr(92) + '😀'])}") == [
        ["😀", chr(92) + "ud83d" + chr(92) + "ude00", chr(92) + "😀"]]
