# `make demo` and `make test` work from a clean clone with Python 3.10 to 3.12 and a package index, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One stamp for the environment: made anew when the dependencies change.
READY := $(VENV)/.ready

.PHONY: demo test check clients verify-all test-batch verify-deployment format clean help

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[embedded,convert,gateway,dev]"
	touch $(READY)

demo: $(READY)  ## convert the demo model, serve it, segment photos, save the pictures
	$(BIN)/python -W ignore examples/demo.py

test: $(READY)  ## run the checks and the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

check: $(READY)  ## run the checks only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clients: $(READY)  ## run the REST service's clients in seven languages (installs their runtimes, on Debian)
	tests/clients/install_runtimes.sh
	$(BIN)/python -m pytest tests/clients tests/kserve

test-batch: $(READY)  ## run the tests of `maskserve batch` (installs Ray and pyarrow)
	$(BIN)/python -m pip install --quiet --editable ".[batch]"
	$(BIN)/python -m pytest tests/tools/batch

verify-deployment: $(READY)  ## lose servers behind Envoy and HAProxy under load, and count (15 minutes)
	$(BIN)/python -W ignore -m tests.deployment.verify

# The folders of Paddle models, and a directory of photos; without MODELS the fifteen official ones are fetched.
MODELS ?=
PHOTOS ?= demo/photos

verify-all: $(READY)  ## hold every model against Paddle, and write docs/models.md: MODELS="DIR ..." PHOTOS=DIR (an hour)
	$(BIN)/python -W ignore benchmarks/verify_all.py $(MODELS) --photos $(PHOTOS) --results output/verify-all --output docs/models.md

format: $(READY)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and what the commands left
	rm -rf $(VENV) output .pytest_cache .mypy_cache .ruff_cache .hypothesis
