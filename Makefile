# make solve   sets everything up and solves a real graph       (GRAPH=, OUT=, ARGS= change what)
# make test    sets everything up and runs all checks, each part whatever became of the others
# make docs    sets up what it needs and builds the documentation as a site into build/site
# make fuzz    runs the property tests at random until FUZZ_MINUTES are over (30)
#
# All need nothing but Python 3.11 or newer and make; everything lands in .venv.

GRAPH ?= models/pair_resnet50_squeezenet.yaml
OUT   ?= build/schedule.json
ARGS  ?=
VENV  ?= .venv
JOBS  ?= 2

# How long `make fuzz` runs.
FUZZ_MINUTES ?= 30

# The first Python on the path that is new enough; PYTHON= names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$python; break; }; done)

BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# An environment whose Python has gone is made anew; one that moved with its checkout is
# installed again, as paths are written into it.
ifneq ($(shell $(BIN)/python -c 'print("ok")' 2>/dev/null) $(shell cat $(VENV)/.python 2>/dev/null),ok $(CURDIR))
$(shell rm -f $(VENV)/.python $(VENV)/.installed $(VENV)/.installed-dev $(VENV)/.installed-docs)
endif

.PHONY: help solve test fuzz docs lint types imports suite timing tensorflow format clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

solve: $(VENV)/.installed
	@mkdir -p $(dir $(OUT))
	$(BIN)/python -m talos_opt solve $(GRAPH) -o $(OUT) $(ARGS)

PARTS := lint types imports docs suite timing tensorflow

test: $(VENV)/.installed-dev
	@failed=; for part in $(PARTS); do \
		$(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	done; \
	if [ -n "$$failed" ]; then echo "make test: failed in$$failed (of $(PARTS))"; exit 1; fi; \
	echo "make test: passed ($(PARTS))"

fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz --minutes $(FUZZ_MINUTES) --jobs $(JOBS)

lint: $(VENV)/.installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/python -m mypy

imports: $(VENV)/.installed-dev
	$(BIN)/python $(BIN)/lint-imports

# Runs the examples of the pages too. TALOS_DOCS_REUSE=1 keeps those of pages that are unchanged.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m talos_opt warmup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "the site is in build/site: open build/site/index.html"

suite: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) -m "not timing"

# Tests that look at a clock run one by one, so that they do not wait for each other.
timing: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 0 -m timing

# TensorFlow's tests have processes of their own: where it is loaded, CP-SAT goes another way.
tensorflow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) tests/frameworks/tensorflow

format: $(VENV)/.installed-dev
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean:
	rm -rf $(VENV) build dist

# Stamps: installed again only when what is to be installed has changed.
$(VENV)/.installed: pyproject.toml | $(VENV)/.python
	@echo "installing talos_opt into $(VENV): about 750 MB, a minute or two on the first run"
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.python
	@echo "installing talos_opt and its test tools into $(VENV): some minutes on the first run"
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed

# `make test` has them among its tools; alone, the site needs less.
$(VENV)/.installed-docs: pyproject.toml | $(VENV)/.python
	@[ ! -e $(VENV)/.installed-dev ] || [ pyproject.toml -nt $(VENV)/.installed-dev ] || { \
		touch $@; exit 0; }; \
	echo "installing talos_opt and what builds its site into $(VENV)"; \
	$(INSTALL) -e '.[docs]' && touch $@ $(VENV)/.installed

$(VENV)/.python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "talos_opt needs Python 3.11 or newer, and none is on the path: install one," \
			"or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module" \
			"(on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "$(CURDIR)" > $@
