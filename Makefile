# Two commands do everything on a fresh machine with python3 (3.11 or later) and make:
#   make run    the main job: scenarios/failover.yaml under every proxy mode
#   make test   all checks and tests
# and `make docs` builds the documentation as a site.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SCENARIO ?= scenarios/failover.yaml

.PHONY: run test lint types tests gate bench docs notebooks clean

run: $(VENV)/installed
	$(BIN)/svcsim run $(SCENARIO) $(ARGS)

test: lint types tests gate

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/installed-test
	$(BIN)/mypy

tests: $(VENV)/installed-test
	$(BIN)/python -m pytest -n auto --dist worksteal --nbmake tests notebooks

# Notebooks are tests too (nbmake): this saves what they show now
notebooks: $(VENV)/installed-test
	$(BIN)/python -m pytest -n auto --nbmake --overwrite notebooks

docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs build/docs
	@echo build/docs/index.html

# Every shipped scenario keeps its expectations and its bytes; when a change of them is meant: make gate UPDATE=--update
gate: $(VENV)/installed-test
	$(BIN)/svcsim check scenarios/*.yaml --baseline tests/baselines --golden --quiet $(UPDATE)

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/run.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/installed-test: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $@

clean:
	rm -rf $(VENV) build dist runs
