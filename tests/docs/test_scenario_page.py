"""docs/scenario.md names every key of the scenario file with its default, every fault and every unit; its examples load."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from svcsim.kube.kinds import KINDS
from svcsim.kube.timings import timing_sources
from svcsim.scenario import json_schema, loads
from svcsim.scenario.expansion import variants
from svcsim.scenario.faults import VERBS
from svcsim.scenario.kubernetes import MODES, SCHEDULERS
from svcsim.scenario.quantities import spelling
from svcsim.scenario.retries import FAILURES
from svcsim.scenario.target import KINDS as TARGETS
from svcsim.units import bandwidth_bit_per_s, duration_ns, rate_per_s, size_bytes
from svcsim.world import build
from svcsim.yamlsource import parse
from tests.docs.pages import ROOT, blocks, page, sections
from tests.scenario.samples import plain

PAGE = page("scenario.md")
SECTIONS = {section.title.replace("`", ""): section for section in sections(PAGE)}
EXAMPLES = blocks(PAGE, "yaml")
SCHEMA = json_schema()
SHARED = {"TimeDistribution": "A time that varies", "SizeDistribution": "A size that varies"}
"""Parts that stand in many places and have one section."""
UNTIMED = {"at", "name", "for"}


def parts(schema: dict, path: str) -> Iterator[tuple[str, str, dict]]:
    """(path, name, schema) of each part below a place of the schema; faults, which are told apart by their verb, left out."""
    for reference in [schema, *schema.get("anyOf", ())]:
        if "$ref" in reference:
            name = reference["$ref"].rpartition("/")[2]
            part = SCHEMA["$defs"][name]
            yield from ((path, name, form) for form in (part, *part.get("anyOf", ())) if "properties" in form)
    for form in [schema, *schema.get("anyOf", ())]:
        if "items" in form:
            yield from parts(form["items"], f"{path}[]")


def every_part(path: str, name: str, part: dict) -> Iterator[tuple[str, str, dict]]:
    yield path, name, part
    for key, schema in part["properties"].items():
        if (path, key) in {("", "faults"), ("cluster.nodes", "list")}:
            continue
        for inner_path, inner_name, inner in parts(schema, f"{path}.{key}".strip(".")):
            if inner_name not in SHARED:
                yield from every_part(inner_path, inner_name, inner)


_BY_PATH = {path: (path, name, part) for path, name, part in every_part("", "Scenario", SCHEMA)}
EVERY_PART = [found for path, found in _BY_PATH.items() if f"{path}[]" not in _BY_PATH]
"""Each part once; one that may stand alone or in a list is the list's."""


def table(title: str) -> dict[str, tuple[str, ...]]:
    """The rows of a section's table by key."""
    return {row[0].strip("`"): row for row in SECTIONS[title].rows if row[0].startswith("`")}


@pytest.mark.parametrize(("path", "part"), [pytest.param(path, part, id=path) for path, _, part in EVERY_PART])
def test_each_part_has_a_section_with_each_of_its_keys_and_no_other(path: str, part: dict) -> None:
    assert set(table(path or "The file")) == set(part["properties"])


def default_text(value: object) -> str:
    """A default as the page writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {default_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(default_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_each_default_is_the_one_of_the_schema() -> None:
    wrong = []
    for path, name, part in EVERY_PART:
        for key, schema in part["properties"].items():
            told = table(path or "The file")[key][2]
            default = schema.get("default")
            deep = isinstance(default, dict) and set(default) - {"constant", "exponential", "poisson"}
            expected = "–" if default in (None, [], {}) or deep else f"`{default_text(default)}`"
            if name == "TimingOverrides":
                continue
            if told != expected:
                wrong.append(f"{path}.{key}: {told}, not {expected}")
    assert wrong == []


def test_what_is_needed_is_called_so() -> None:
    for path, _, part in EVERY_PART:
        rows = table(path or "The file")
        assert {key for key, row in rows.items() if row[3].startswith("needed")} == set(part.get("required", ())), path


def test_each_timing_has_its_default_of_the_data_file() -> None:
    rows = table("kubernetes.timings")
    for source in timing_sources():
        assert rows[spelling(source.name)][2] == f"`{source.value}`", source.name


@pytest.mark.parametrize("name", SHARED)
def test_what_varies_has_all_of_its_forms(name: str) -> None:
    rows = table(SHARED[name])
    [form] = [form for form in SCHEMA["$defs"][name]["anyOf"] if "properties" in form]
    assert set(rows) == set(form["properties"])
    for key, schema in form["properties"].items():
        for _, _, inner in parts(schema, ""):
            for inner_key in inner["properties"]:
                assert f"`{inner_key}`" in rows[key][1], (key, inner_key)


@pytest.mark.parametrize("verb", VERBS)
def test_each_fault_has_a_section_with_its_keys_and_an_example(verb: str) -> None:
    section = SECTIONS[verb]
    keys = {spelling(name) for name in VERBS[verb].model_fields} - {"closePort" if verb == "closePort" else verb} - UNTIMED
    for key in keys - {"for_"}:
        assert f"`{key}`" in section.text or f"`{key}:" in section.text, key
    assert re.search(rf"[{{ ]{verb}:", "".join(blocks(section.text, "yaml"))), "no example"


def test_faults_that_are_over_at_once_are_those_that_the_page_names() -> None:
    told = table("faults[]")["for"][3]
    at_once = {verb for verb, model in VERBS.items() if "for_ns" not in model.model_fields}
    assert set(re.findall(r"`(\w+)`", told.partition("Not for")[2])) == at_once


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (MODES, "kubernetes.proxy"), (SCHEDULERS, "kubernetes.proxy"), (FAILURES, "workloads[].retries"), (TARGETS, "faults[]"),
    ],
)
def test_each_name_that_a_key_may_have_is_listed(names: tuple[str, ...], title: str) -> None:
    missing = [name for name in names if not re.search(rf"\b{name}\b", SECTIONS[title].text)]
    assert missing == []


def test_each_kind_of_manifest_is_listed() -> None:
    assert [kind.name for kind in KINDS if not re.search(rf"\b{kind.name}\b", SECTIONS["manifests"].text)] == []


def test_each_unit_on_the_page_is_one_and_each_of_the_schemas_is_on_the_page() -> None:
    rows = {row[0]: row for row in SECTIONS["Quantities"].rows}
    readers = {"duration": duration_ns, "rate": rate_per_s, "size": size_bytes, "bandwidth": bandwidth_bit_per_s}
    for name, reader in readers.items():
        for unit in re.findall(r"`([^`]+)`", rows[name][2]):
            assert reader(f"1{unit}") >= 0
        for example in re.findall(r"`([^`]+)`", rows[name][1]):
            assert reader(example) >= 0
    told = set(re.findall(r"`([^`]+)`", rows["duration"][2]))
    assert told == {"ns", "us", "µs", "ms", "s", "m", "min", "h", "d"}


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("scenario")
    shutil.copytree(ROOT / "scenarios" / "manifests", folder / "manifests")
    (folder / "times.txt").write_text("# measured\n1ms\n1.5ms\n9ms\n", encoding="utf-8")
    profile = files("svcsim.calibration").joinpath("profiles/linux-6.18-measured.toml").read_text(encoding="utf-8")
    (folder / "my-costs.toml").write_text(profile, encoding="utf-8")
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_loads_and_is_a_world_without_a_remark(example: str, beside: Path) -> None:
    own = "" if re.search(r"^manifests:", example, re.MULTILINE) else "manifests: [{file: manifests/web.yaml}]\n"
    scenario = loads(example + own, base=beside)
    assert [note for note in scenario.notes if "no pod has the labels" not in note] == []
    for variant in variants(scenario)[:1]:
        build(variant.scenario)


def test_the_schema_takes_each_example() -> None:
    validator = Draft202012Validator(SCHEMA)
    mistakes = [
        (document.root, error.json_path, error.message)
        for example in EXAMPLES for document in parse(example, "example") for error in validator.iter_errors(plain(document.root))
    ]
    assert mistakes == []


def test_examples_show_every_kind_of_fault_and_most_keys() -> None:
    shown = set(re.findall(r"\b([A-Za-z]\w*):", "".join(EXAMPLES)))
    assert set(VERBS) <= shown
    keys = {key for path, name, part in EVERY_PART if name != "TimingOverrides" for key in part["properties"]}
    assert len(keys & shown) > 0.7 * len(keys), json.dumps(sorted(keys - shown))
