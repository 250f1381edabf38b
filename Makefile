# Each target can be run on its own, on a machine with make and Python 3.11 or newer (with venv).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# If uv is installed it is used: it needs seconds where pip needs a minute.
INSTALL := $(if $(shell command -v uv),uv pip install --quiet --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

# The tests start hundreds of Python processes, each of which would compile all modules that it imports.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo check test test-lowest lint package format docs bench bench-full clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    run the demonstration on a small synthetic archive, served on loopback"
	@echo "make check   check style of changed files, types and the pure tests, in under a minute"
	@echo "make test    run all tests, on all cores"
	@echo "make test-lowest   test with the lowest supported versions of the dependencies"
	@echo "make lint    check style and types"
	@echo "make package build the sdist and the wheel, and check them and the types of the public names"
	@echo "make docs    build the documentation, into docs/_build/index.html"
	@echo "make format  format the code"
	@echo "make bench   compare the speed with other tools, in a few minutes (make bench-full: in an hour)"
	@echo "make clean   remove all files made by these commands"

# One stamp file per set of requirements, so that each target installs only what it needs.
$(VENV)/bin/python:
	@echo "== Creating a virtual environment in $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "== Installing camhd_access"
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.%: pyproject.toml | $(BIN)/python
	@echo "== Installing camhd_access with what $* needs"
	$(INSTALL) --editable '.[$*]'
	@touch $@

# s3fs pins botocore to a narrow range: installing it first saves pip many minutes of searching.
$(VENV)/.test $(VENV)/.docs: | $(VENV)/.s3

# Each process of pytest-xdist has its own servers, ports, folders and caches; the tests of a module stay together
# until a process runs out of work.
ON_ALL_CORES := --numprocesses auto --dist worksteal
# Compiles the decoder, which is stored for all later processes: on busy cores, tests would wait for it for minutes.
COMPILE := -c 'from camhd_access.decoding.machine_code import can_compile, find_kernel; can_compile() and find_kernel(waits=True)'

# The files that differ from main, or from the last commit on main itself.
BASE = $$(git merge-base HEAD main 2>/dev/null || echo HEAD)
CHANGED = $$( (git diff --name-only --diff-filter=d $(BASE); git ls-files --others --exclude-standard) | grep -E '\.(py|ipynb)$$')

demo: $(VENV)/.core
	@echo "== Demonstration: list, open lazily, slice, average, draw (takes about 20 seconds)"
	@mkdir -p demo
	$(BIN)/camhd demo --output demo/camhd-demo.png

check: $(VENV)/.test $(VENV)/.lint
	@echo "== Checking what changed (takes half a minute)"
	@$(MAKE) --no-print-directory check-changed check-types check-pure

.PHONY: check-changed check-types check-pure
check-changed:
	@files="$(CHANGED)"; [ -z "$$files" ] || { $(BIN)/ruff check $$files && $(BIN)/ruff format --check $$files; }

check-types:
	@$(BIN)/mypy

check-pure:
	@$(BIN)/python -m pytest --quiet $(ON_ALL_CORES) -m "pure and not slow"

test: $(VENV)/.test
	@echo "== Running the tests on all cores (takes a few minutes; real servers are used where they are installed)"
	$(BIN)/python $(COMPILE)
	$(BIN)/python -m pytest $(ON_ALL_CORES)

# The lowest versions of the direct dependencies in pyproject.toml, on a Python for which all of them have wheels;
# test tools (pytest and its plugins) are current.
LOWEST := .venv-lowest
TESTS_OF_INTERFACES := tests/arrays tests/decoding tests/storage/test_source.py tests/storage/test_s3.py \
	tests/storage/test_lazyhttp.py tests/movie/test_reader.py tests/archive tests/test_packaging.py

$(LOWEST)/.installed: pyproject.toml | $(BIN)/python
	@echo "== Installing the lowest versions of what camhd_access needs"
	$(INSTALL) uv
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
		--editable '.[notebook,parquet,s3,server,zarr]'
	$(BIN)/uv pip freeze --quiet --exclude-editable --python $(LOWEST)/bin/python >$(LOWEST)/lowest.txt
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --constraint $(LOWEST)/lowest.txt --editable '.[test]'
	@touch $@

test-lowest: $(LOWEST)/.installed
	@echo "== Running the tests of other libraries' interfaces with the lowest versions allowed"
	$(LOWEST)/bin/python $(COMPILE)
	$(LOWEST)/bin/python -m pytest $(ON_ALL_CORES) --quiet -m "not slow" -W "ignore::DeprecationWarning" \
		-W "ignore:variable None has data in the form of a dask array" $(TESTS_OF_INTERFACES)

lint: $(VENV)/.lint
	@echo "== Checking style and types"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

package: $(VENV)/.test $(VENV)/.lint
	@echo "== Building and checking the package"
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(BIN)/twine check --strict dist/*
	$(BIN)/python .github/verify_types.py

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
	rm -rf $(VENV) .venv-newest $(LOWEST) demo dist docs/_build benchmarks/.cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
