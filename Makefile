# Every target works as the only command on a machine with Python 3.11 or newer (with venv) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint format docs bench bench-full clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    do the main job on a small archive, made on the spot and served on loopback"
	@echo "make test    run the tests"
	@echo "make lint    check style and types"
	@echo "make docs    build the documentation, into docs/_build/index.html"
	@echo "make format  put the code into its standard form"
	@echo "make bench   measure the library beside its peers, in a few minutes (make bench-full: in an hour)"
	@echo "make clean   remove what these commands made"

# One stamp for each set of requirements, so that each target installs what it needs and no more.
$(VENV)/bin/python:
	@echo "== Making a virtual environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "== Installing camhd_access"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.%: pyproject.toml | $(BIN)/python
	@echo "== Installing camhd_access with what $* needs"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# s3fs pins botocore to a narrow range: installed first, it spares pip a search of many minutes.
$(VENV)/.test $(VENV)/.docs: | $(VENV)/.s3

demo: $(VENV)/.core
	@echo "== The main job: list, open lazily, slice, average, draw (takes about 20 seconds)"
	@mkdir -p demo
	$(BIN)/camhd demo --output demo/camhd-demo.png

test: $(VENV)/.test
	@echo "== Running the tests (takes a few minutes; real servers are used where they are installed)"
	$(BIN)/python -m pytest

lint: $(VENV)/.lint
	@echo "== Checking style and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	@echo "== Building the documentation, warnings being errors"
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build
	@echo "docs/_build/index.html"

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench
	@echo "== Measuring, quickly: the library beside its peers (takes a few minutes; keep the machine quiet)"
	$(BIN)/python -m benchmarks

bench-full: $(VENV)/.bench
	@echo "== Measuring in full, into docs/benchmarks.md (takes an hour; keep the machine quiet)"
	$(BIN)/python -m benchmarks --full --docs

clean:
	rm -rf $(VENV) demo docs/_build benchmarks/.cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
