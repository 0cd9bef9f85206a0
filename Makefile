# make verify | test | test-slow | test-all | lint | types | docs | notebooks | bench | clean. PYTHON= chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEEDS := pyproject.toml constraints.txt
# Tests are mostly tracing in Python: two processes, each with whole files, so that shared runs stay shared.
WORKERS ?= -n 2 --dist loadfile
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: verify test test-slow test-all lint types docs notebooks bench clean

verify: $(VENV)/.installed-data
	$(BIN)/dlntheory verify

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" $(WORKERS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow $(WORKERS)

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(WORKERS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/pyright

# The pages land in build/docs/html. Notebooks show their committed outputs.
docs: $(VENV)/.installed-dev
	$(BIN)/python -m sphinx -b html -W --keep-going -d build/docs/doctrees docs build/docs/html

notebooks: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q tests/test_notebooks.py

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

$(VENV)/.installed-data: $(NEEDS) | $(BIN)/python
	$(INSTALL) -e ".[data]"
	@touch $@

$(VENV)/.installed-dev: $(NEEDS) | $(BIN)/python
	$(INSTALL) -e ".[dev]"
	@touch $@ $(VENV)/.installed-data

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "dlntheory needs Python 3.11 or newer; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist report .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
