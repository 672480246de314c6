# `make demo` and `make test` work from a clean clone with Python 3.10 to 3.12 and a package index, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One stamp for the environment. It is made again when the dependencies change.
READY := $(VENV)/.ready

# What a test is marked with that `make quick` leaves out: see tests/markers.py.
QUICK := not server and not browser and not paddle and not ray and not shared and not slow
# What needs a machine of its own.
ALONE := server or browser or ray
# Two workers for each core: the tests wait for half of their time. Threads of BLAS, one for each core in every worker,
# would wait for one another and take the cores meanwhile.
# The plugin of schemathesis takes every worker two seconds to load; its tests are none of the quick ones.
WORKERS := $(shell $(PYTHON) -c "import os; print(2 * os.cpu_count())")
# One for each core of what converts and imports Paddle, which takes a core and up to a gigabyte.
CONVERTERS := $(shell $(PYTHON) -c "import os; print(min(os.cpu_count(), 4))")
SIDE_BY_SIDE := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m "$(QUICK)" -p no:schemathesis
# All extras at once: installed one by one they may change each other's packages.
EXTRAS := embedded,convert,gateway,batch,pdf,heic,otel,dev,docs

.PHONY: images wheels demo quick test check coverage chaos fuzz page-types extras lock docs golden clients verify-all verify-grid test-batch overload soak verify-deployment format clean help int8

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	$(BIN)/python -m pip check
	touch $(READY)

demo: $(READY)  ## convert the demo model, serve it, segment images, save the results
	$(BIN)/python -W ignore examples/demo.py

quick: $(READY)  ## run the tests that need no server, no browser and no Paddle
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(SIDE_BY_SIDE) --hypothesis-profile=quick

# What starts servers and browsers runs one after another: a machine that does too much at once makes them wait in vain.
test: check coverage  ## run the checks and all the tests
	$(BIN)/python -m pytest -q -n $(CONVERTERS) -m "not ($(QUICK)) and not ($(ALONE))"
	$(BIN)/python -m pytest -m "$(ALONE)"

check: $(READY)  ## run the checks only: style, types, the directions of imports, the page's types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_lock.py
	$(MAKE) page-types

coverage: $(READY)  ## run the quick tests, and fail where they cover less than the floor in pyproject.toml
	$(SIDE_BY_SIDE) --cov --cov-report=

page-types: $(READY)  ## check the types of the page's JavaScript, where npm is
	$(BIN)/python -m pytest -q -rs tests/page/test_types.py

extras: $(READY)  ## install the extras that the documents name, together and one after another, in environments of their own
	$(PYTHON) -m tests.installing.check_extras

wheels:  ## resolve `[local]` from wheels alone for every system and Python, from the package index
	$(PYTHON) -m tests.installing.check_wheels

lock:  ## write constraints.txt anew from pyproject.toml (an environment of its own; keeps versions that still fit)
	$(PYTHON) -m venv output/lock
	output/lock/bin/python -m pip install --quiet uv
	output/lock/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.10 \
		$(foreach extra,embedded convert int8 gateway batch pdf heic cvat otel dev docs,--extra $(extra)) \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --output-file constraints.txt

images: $(READY)  ## make the documents' images anew, those of the page with Chromium
	MASKSERVE_DECODERS=0 $(BIN)/python -W ignore -m tests.page.make_images

docs: $(READY)  ## build the documentation site into output/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

golden: $(READY)  ## write the texts of the interfaces anew: --help, OpenAPI, doctor --json (tests/golden)
	$(BIN)/python -m tests.golden.write

clients: $(READY)  ## run the REST service's clients in seven languages (installs their runtimes, on Debian)
	tests/rest_clients/install_runtimes.sh
	$(BIN)/python -m pytest tests/rest_clients tests/kserve

int8: $(READY)  ## install nncf (210 MB), and run the tests that quantise
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS),int8]"
	$(BIN)/python -m pytest tests/convert/int8

test-batch: $(READY)  ## run the tests of `maskserve batch`
	$(BIN)/python -m pytest tests/tools/batch

# Of a soak; the figures of an hour are in docs/reliability.md.
MINUTES ?= 60

# A commit, for `make bench`; the last tag where it is empty.
AGAINST ?=

bench: $(READY)  ## measure a short set against an earlier release, AGAINST=REF, and keep the ratios (benchmarks/history.json)
	$(BIN)/python -W ignore -m benchmarks.remembered $(if $(AGAINST),--against $(AGAINST))

overload: $(READY)  ## send a served model 16 times what it can answer, over gRPC and REST, and count (4 minutes)
	$(BIN)/python -W ignore -m benchmarks.overload

soak: $(READY)  ## send mixed traffic for MINUTES (60), and print how memory, descriptors and threads grow
	$(BIN)/python -W ignore -m benchmarks.soak --minutes $(MINUTES)

verify-deployment: $(READY)  ## lose servers behind Envoy and HAProxy under load, and count (15 minutes)
	$(BIN)/python -W ignore -m tests.deployment.verify

# MINUTES; FUZZ: further arguments of `python -m tests.fuzz.run`, such as FUZZ="--first 2000".
fuzz: $(READY)  ## decode hostile files for MINUTES=60, and count: deaths, seconds, memory
	$(BIN)/python -W ignore -m tests.fuzz.run --minutes $(MINUTES) $(FUZZ)

# Further arguments of `python -m tests.chaos.run`, such as CHAOS="--role core --rounds 3".
CHAOS ?=

chaos: $(READY)  ## kill and freeze every process of a server under load, 20 rounds each, and count (40 minutes)
	$(BIN)/python -W ignore -m tests.chaos.run $(CHAOS)

# The folders of Paddle models, and a directory of photos; without MODELS the fifteen official ones are fetched.
# WELL_CONDITIONED: folders of `python -m tests.models.make_models OUT --well-conditioned`, for a table of their own.
MODELS ?=
WELL_CONDITIONED ?=
PHOTOS ?= demo/photos

verify-all: $(READY)  ## compare every model with Paddle, and write docs/models.md: MODELS="DIR ..." PHOTOS=DIR (an hour)
	$(BIN)/python -W ignore benchmarks/verify_all.py $(MODELS) $(if $(WELL_CONDITIONED),--well-conditioned $(WELL_CONDITIONED)) --photos $(PHOTOS) --results output/verify-all --output docs/models.md
	$(MAKE) verify-grid

verify-grid: $(READY)  ## compare every export option of every family with Paddle, into docs/models.md (a quarter of an hour)
	$(BIN)/python -W ignore -m tests.convert.networks.verify_grid --results output/verify-grid --output docs/models.md

format: $(READY)  ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and what the commands left
	rm -rf $(VENV) output .pytest_cache .mypy_cache .ruff_cache .hypothesis
