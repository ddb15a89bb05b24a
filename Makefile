# Sets up what it needs and runs it: `make help` lists the targets.

PYTHON ?= /usr/bin/python3.11
# A number repeats the random part of an earlier run.
SEED ?=
SEEDED = $(if $(SEED),VPCROUTER_SEED=$(SEED))
JOBS ?= 2

SHELL := /bin/bash
BIN := .venv/bin
LOCKED := .venv/.locked
READY := .venv/.ready
TOOLS := .venv/.tools
PACKAGES := ipam vpcrouter cni
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo lab test prove bench lint format lock clean

help:  ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

demo: $(READY)  ## set up everything and run the demonstration
	$(BIN)/vpcrouter demo

lab: $(READY)  ## run a whole cluster in namespaces, fail a forwarder and repair it (needs root)
	$(BIN)/vpcrouter lab tour

test: lint $(TOOLS)  ## check everything and run the tests (SEED=n repeats the random part of a run)
	$(SEEDED) $(BIN)/pytest -n $(JOBS)

prove: $(READY) $(TOOLS)  ## run the tests with the full counts (about an hour on two cores)
	VPCROUTER_COUNTS=prove $(SEEDED) $(BIN)/pytest -n $(JOBS)

bench: $(READY) $(TOOLS)  ## measure and print numbers (ONLY=planning runs one benchmark)
	$(BIN)/python -m tests.bench $(ONLY)

lint: $(READY)  ## style, types and the directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES) tests
	$(BIN)/lint-imports --no-logo

format: $(READY)  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Emits neither the index nor other options of the machine that makes it.
lock: $(READY)  ## resolve the dependencies of setup.cfg anew
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade --extra dev \
		--generate-hashes --allow-unsafe --strip-extras --no-emit-options --no-build-isolation \
		--output-file requirements.lock setup.cfg

clean:  ## remove what the other targets made
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(LOCKED): requirements.lock
	@.ci/debian-packages $(PYTHON)
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	@touch $@

$(TOOLS): $(LOCKED) .ci/debian-packages
	@.ci/debian-packages $(PYTHON) tests
	@touch $@

$(READY): $(LOCKED) setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
