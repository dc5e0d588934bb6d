# make demo   install and run the shipped configuration     make test   run the tests
# make run PHOTOS=photos/kitchen   install, and make everything of your own photographs
# make lint   all static checks                             make lock   renew the locks
# make docs   renew the numbers of README and docs/ from docs/results/, and the configuration reference
# make docs-demo   the demo's scores and pictures in README and docs/, after `make demo`
# make doctor whether training can run on a GPU here, compiling what that needs

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: demo run photos install install-dev test test-all lint lock clean doctor docs docs-demo

VENV ?= .venv
CORES ?= all
BIN := $(VENV)/bin
# The first interpreter that is new enough; `make PYTHON=/path/to/python demo` chooses another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# All edits of all variants: snakemake --cores all edits
EDITS := $(addprefix results/demo/gradiseg_plus/seed0/edits/,without_teapot gold_teapot swapped)
demo: install
	$(BIN)/snakemake --cores $(CORES) all views $(EDITS)
	@$(BIN)/gradiseg show results

# Your own photographs, as `gradiseg run` does; OPTIONS='--quality draft' are its options.
run: photos
	@$(MAKE) --no-print-directory install
	$(BIN)/gradiseg run "$(PHOTOS)" $(if $(filter-out all,$(CORES)),--cores $(CORES)) $(OPTIONS)

# Before an installation, which takes long.
photos:
	@if [ -z "$(PHOTOS)" ]; then \
		echo "Name the folder of your photographs, or a video: make run PHOTOS=photos/kitchen" >&2; exit 1; \
	elif [ ! -e "$(PHOTOS)" ]; then \
		echo "PHOTOS=$(PHOTOS): no such folder of photographs, video or configuration" >&2; exit 1; \
	fi

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "GradiSeg needs Python 3.11 or newer, and none was found. Install one, or name it:" >&2; \
		echo "    make PYTHON=/path/to/python3.11 demo" >&2; exit 1; \
	fi
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit( \
		f"GradiSeg needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}")'
	$(PYTHON) -m venv $(VENV)

# The project itself is installed without build isolation: its build backend is in the lock, so
# that nothing is fetched past the hashes.
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python -m pip install --require-hashes --requirement requirements-dev.lock
	@touch $@

test: install-dev
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 4

test-all: install-dev
	$(BIN)/python -m pytest

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile rules studies/Snakefile studies/rules
	$(BIN)/snakemake --lint

docs: install-dev
	$(BIN)/python -m gradiseg_core.config.docs
	$(BIN)/python -m docs.build

docs-demo: install-dev
	$(BIN)/python -m docs.collect results demo --command "make demo"
	$(BIN)/python -m docs.pictures results/demo demo
	$(MAKE) docs

doctor: install-dev
	$(BIN)/gradiseg doctor

# Keeps the pinned versions where pyproject.toml still allows them; add `--upgrade` to renew all.
LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" pyproject.toml
lock: install-dev
	$(BIN)/uv $(LOCK) --extra build --output-file requirements.lock $(LOCKFLAGS)
	$(BIN)/uv $(LOCK) --extra dev --constraint requirements.lock --output-file requirements-dev.lock $(LOCKFLAGS)
	$(BIN)/python -m envs.lock

clean:
	rm -rf results/*/ .snakemake
