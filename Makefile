# One front door: people and CI use the same targets.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

# Tests of one file share what it starts, so a file stays whole. Those in the order in which tests/conftest.py has them.
PYTEST := pytest -n auto --dist loadfile --no-loadscope-reorder

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The lower bounds of pyproject.toml, as constraints: "celery>=5.4" becomes "celery==5.4.*".
OLDEST := .venv-oldest
define LOWER_BOUNDS
import tomllib
with open("pyproject.toml", "rb") as file:
    for needed in tomllib.load(file)["project"]["dependencies"]:
        print(needed.replace(">=", "==") + ".*")
endef
export LOWER_BOUNDS

.DEFAULT_GOAL := help
.PHONY: help install up down test chaos oldest check format bench wheel lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS=... is passed on, e.g. make up ARGS='--workers 4', make test ARGS='-k name -x'"
	@echo "  PYTHON=... chooses the interpreter for $(VENV), 3.11 or newer"

install: $(INSTALLED) ## Make the environment in .venv

# The stamp is written last, so that an interrupted install starts again.
$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than 3.11; choose another one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

up: $(INSTALLED) ## Start a server, two workers, the page and Flower on this machine, and run samples
	@$(BIN)/executions up $(ARGS)

down: $(INSTALLED) ## Stop all of it; the data stays in .executions
	@$(BIN)/executions down $(ARGS)

test: $(INSTALLED) ## Run the tests
	$(BIN)/python -m $(PYTEST) $(ARGS)

chaos: $(INSTALLED) ## Run a fleet under a storm of faults: ARGS='--seconds 300 --seed 7 --backend redis'
	$(BIN)/python -m tests.chaos $(ARGS)

oldest: ## Run the tests with the oldest Celery, Redis client and so on that we support
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -c "$$LOWER_BOUNDS" > $(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint $(OLDEST)/constraints.txt -e '.[test]'
	$(OLDEST)/bin/python -m $(PYTEST) $(ARGS)

check: $(INSTALLED) ## Check style, types, imports and the container files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict docker
	$(BIN)/hadolint docker/Dockerfile

format: $(INSTALLED) ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Measure, beside stock Celery
	$(BIN)/python -m benchmarks $(ARGS)

wheel: ## Build the wheel and try it in an empty folder
	PYTHON=$(PYTHON) .ci/try-wheel

lock: ## Make requirements-dev.lock anew from the newest versions that fit together
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check '.[dev]'
	build/lock/bin/python -m pip check
	build/lock/bin/python -m pip freeze --exclude executions > requirements-dev.lock
	rm -rf build/lock

clean: ## Stop the stack and remove all that was made, but for the data in .executions
	@test ! -x $(BIN)/executions || $(BIN)/executions down
	rm -rf $(VENV) $(OLDEST) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
