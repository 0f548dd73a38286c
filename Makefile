# `make demo` and `make test` need only Python 3.10 or newer, make and git: they set up .venv once and reuse it.
#
#   PYTHON=python3.11     the Python to use
#   FAISS=cpu|gpu         instead of asking nvidia-smi
#   DEMO_SERVE=0          let `make demo` end instead of serving the page
#   IMAGES=FOLDER         run `make demo` on these images instead of the handwritten digits
#   PYTEST_ARGS="-k card" handed to pytest
#   WORKERS=N             processes that run the tests at the same time; 0: none beside pytest itself (as --pdb needs)
#   SINCE=COMMIT          what `make fast` compares the files with, in place of where this branch left main

SHELL := /bin/sh
CORES = $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
WORKERS ?= $(if $(filter 1,$(CORES)),0,$(if $(filter 2 3,$(CORES)),2,4))
PYTEST = -n $(WORKERS) --dist worksteal
BIN := .venv/bin
PIP ?= $(BIN)/python -m pip --disable-pip-version-check

# faiss-gpu is built for x86-64 Linux
ifndef FAISS
FAISS := $(shell nvidia-smi >/dev/null 2>&1 && [ "$$(uname -sm)" = "Linux x86_64" ] && echo gpu || echo cpu)
endif
OTHER_FAISS := $(if $(filter gpu,$(FAISS)),cpu,gpu)

# What is installed is known by the content of these two, so that touching or checking them out again costs nothing.
KEY := $(FAISS)-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
DEMO := .venv/.installed-demo-$(KEY)
TEST := .venv/.installed-test-$(KEY)
DOCS := .venv/.installed-docs-$(KEY)

.PHONY: help demo test fast test-slow lint format docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      pretrain, search and classify on real images, then open the page (DEMO_SERVE=0: without)"
	@echo "make test      ruff, mypy and the tests (make test-slow: the slow ones too)"
	@echo "make fast      ruff and the tests that concern a change, in a minute"
	@echo "make lint      ruff, mypy and import rules     make format    let ruff lay out the code"
	@echo "make docs      build the documentation into site/"
	@echo "make clean     remove builds and caches; .venv and runs/ stay"

demo: $(DEMO)
	@$(BIN)/cpchub quickstart $(if $(IMAGES),--images "$(IMAGES)") $(if $(filter 0,$(DEMO_SERVE)),--no-serve)

test: lint
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	    || echo "There is no chromium here: the browser tests are skipped (Debian: apt-get install chromium chromium-driver)."
	@$(BIN)/python -m pytest -m "not slow" $(PYTEST) $(PYTEST_ARGS)

# What concerns a change, as far as a minute goes: what is left out is counted as skipped.
fast: $(TEST)
	@$(BIN)/ruff check .
	@files=$$($(BIN)/python tests/concerned.py $(SINCE)) || exit; \
	if [ -n "$$files" ]; then \
	    $(BIN)/python -m pytest -m "not slow" -rs --within 45 \
	        -n $(WORKERS) --dist loadfile --no-loadscope-reorder $$files $(PYTEST_ARGS); \
	else \
	    echo "No test is named for what has changed, or mentions it."; \
	fi

test-slow: $(TEST)
	@$(BIN)/python -m pytest $(PYTEST) $(PYTEST_ARGS)

lint: $(TEST)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-cache --no-logo

format: $(TEST)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(DOCS)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find cpchub training serving tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call install,EXTRAS,STAMPS). The other faiss goes first: both own the folder faiss/, and removing one later would
# break the one that stays.
comma := ,
define install
@find .venv -maxdepth 1 -name '.installed-*' ! -name '*-$(KEY)' -delete
@$(PIP) uninstall --quiet --yes faiss-$(OTHER_FAISS) >/dev/null 2>&1 || true
@$(PIP) install --quiet --constraint constraints.txt --editable ".[$(subst +,$(comma),$(1))]"
@touch $(2)
@echo "Installed."
endef

$(DEMO): | $(BIN)/python
	@echo "Installing what the demo needs, with faiss-$(FAISS). The first time this takes minutes: torch is large."
	$(call install,train+demo+$(FAISS),$(DEMO))

$(TEST): | $(BIN)/python
	@echo "Installing what the tests need, with faiss-$(FAISS). The first time this takes minutes: torch is large."
	$(call install,train+demo+api+$(FAISS)+test,$(DEMO) $(TEST))

$(DOCS): | $(BIN)/python
	@echo "Installing what the documentation needs."
	$(call install,docs+$(FAISS),$(DOCS))

# The first of these that is 3.10 or newer and can make a virtual environment with pip in it.
PYTHON ?= $(shell for python in python3.12 python3.11 python3.10 python3 python3.13; do \
    $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 \
    && echo $$python && break; done)

# The system's own site-packages stay untouched (PEP 668).
$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	    echo "No Python here can make a virtual environment: it takes Python 3.10 or newer with venv and ensurepip."; \
	    echo "Debian and Ubuntu: apt-get install python3-venv. Another Python: make PYTHON=/path/to/python3.11 ..."; \
	    exit 1; \
	fi >&2
	@echo "Making .venv with $$($(PYTHON) --version)."
	@$(PYTHON) -m venv --clear .venv || { rm -rf .venv; exit 1; }
