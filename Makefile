# Every target makes what it needs first: python3 with its venv module is enough to begin with.

PYTHON ?= python3
SIZE ?= 500
RUNS ?= 3
ARGS ?=
# Most of a recording is waiting, so two tests share a processor.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(8, 2 * (os.cpu_count() or 1)))')

BIN := .venv/bin
STAMP := .venv/stamp
# As pip does for what it copies; where PYTHONDONTWRITEBYTECODE is set every start would compile anew.
COMPILE = $(BIN)/python -m compileall -q tracecorr

.DEFAULT_GOAL := help
.PHONY: help install compiled demo test check lint format bench bench-live bench-scan accuracy clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## make .venv, with tracecorr from this tree and all that developers need

# The stamp is as new as the pyproject.toml that it was made from.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(COMPILE)
	@touch $@

compiled: $(STAMP)
	@$(COMPILE)

demo: $(STAMP)  ## start a leaking server, trace it while it runs, diagnose it, stop it
	@$(BIN)/python -m tracecorr.demo

test: $(STAMP)  ## run every test (ARGS="-k name" for some of them)
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)

lint: $(STAMP)  ## ruff and mypy --strict
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

check: lint test  ## lint and test: all that must pass

format: $(STAMP)  ## let ruff mend style and layout
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: $(STAMP) compiled  ## speed and memory of parse beside grep's, on a log of SIZE=500 MB, median of RUNS=3
	@$(BIN)/python -m bench.parse_log --size $(SIZE) --runs $(RUNS) $(ARGS)

bench-live: $(STAMP) compiled  ## what tracing costs a busy nginx, with every engine (ARGS="--rounds 5 --seconds 3")
	@$(BIN)/python -m bench.live_engines $(ARGS)

bench-scan: $(STAMP) compiled  ## scan beside ss, lsof and psutil, with up to 15,000 connections (ARGS="--runs 9")
	@$(BIN)/python -m bench.scan_host $(ARGS)

accuracy: $(STAMP)  ## record every program in fixtures with every set of strace flags, and grade the reports
	@$(BIN)/python -m fixtures.accuracy $(ARGS)

clean:  ## remove all that these targets have made in this tree
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis fixtures/programs/build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.actual' -type f -delete
