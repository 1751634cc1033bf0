# `make help` lists what there is to make. Python comes from .venv, which `make` builds from the locked requirements.

SHELL := /bin/bash -o pipefail
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
COVERAGE := build/coverage
COMPAT := build/compat
COMPAT_READY := $(COMPAT)/.ready
UV_VERSION := 0.13.9
# Parts of the tests that share nothing, each with servers of its own. They wait for most of their time, so that two
# processors suffice for three at once; the longest come first. One real cluster is as much as fits beside them, and
# sweeps on it are held to deadlines of seconds: those come when all others have ended. What all of them would install
# or build at once is there before.
INTEGRATION := $(addprefix integration-,sweeps stores outages fire mutations)
SIDE_BY_SIDE := test-unit $(INTEGRATION) e2e-testbed test-chart test-compat
AT_ONCE := 3
OUTAGES := $(addprefix tests/integration/sweeps/,test_leader.py test_outage.py)
LOCKED := operator sidecar obstore dev jax gmat compat
LOCK := compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

.DEFAULT_GOAL := help
.PHONY: help demo recordings test test-unit test-integration integration-all $(INTEGRATION) test-outage test-chart test-e2e e2e-all e2e-testbed e2e-sweeps test-clients test-faults test-compat bench soak lint format verify generate lock venv clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

demo: $(READY) ## Run the main job: a sweep loses nodes and finishes. Options: make demo ARGS="--help"
	PYTHONPATH=tests/testbed:tests $(BIN)/python -m trial.demo $(ARGS)

test: ## Run all tests, from linters to real kubelets (needs Linux and root)
	@bash tests/require-root.sh "make test"
	@rm -rf $(COVERAGE)
	@$(MAKE) --no-print-directory lint verify
	@tests/testbed/testbed prepare
	@echo "$(words $(SIDE_BY_SIDE)) parts of the tests, $(AT_ONCE) at a time; each is shown when it has ended, the longest after some ten minutes"
	@$(MAKE) --no-print-directory --jobs=$(AT_ONCE) --output-sync=target $(SIDE_BY_SIDE)
	@$(MAKE) --no-print-directory e2e-sweeps
	@$(BIN)/coverage combine --quiet $(COVERAGE)
	@$(BIN)/coverage report

test-unit: $(READY) ## Run the unit tests and a sample of the faults: seven minutes, no cluster
	@mkdir -p $(COVERAGE)
	COVERAGE_FILE=$(COVERAGE)/.coverage.unit $(PYTEST) --cov --cov-report= -q tests/unit tests/crash $(ARGS)

test-integration: integration-all ## Run the tests against a real API server and a real object store, without nodes

integration-all: FOLDERS := tests/integration tests/faults tests/fire tests/mutations
integration-sweeps: FOLDERS := tests/integration/sweeps $(OUTAGES:%=--ignore=%)
integration-outages: FOLDERS := $(OUTAGES)
integration-stores: FOLDERS := tests/integration --ignore=tests/integration/sweeps tests/faults
integration-fire: FOLDERS := tests/fire
integration-mutations: FOLDERS := tests/mutations

integration-all $(INTEGRATION): integration-%: $(READY)
	@mkdir -p $(COVERAGE)
	COVERAGE_FILE=$(COVERAGE)/.coverage.$* $(PYTEST) --cov --cov-report= -q $(FOLDERS) -m "not matrix" $(ARGS)

test-outage: $(READY) ## Take the API server away from the operator for ten minutes: frozen, and killed
	$(PYTEST) -v tests/integration/sweeps/test_outage.py -m matrix $(ARGS)

test-chart: $(READY) ## Run the chart's tests
	$(PYTEST) -q tests/chart $(ARGS)

test-e2e: e2e-all ## Run the tests on real kubelets (needs Linux and root)

e2e-all: FOLDERS := tests/e2e
e2e-testbed: FOLDERS := tests/e2e/test_testbed.py
e2e-sweeps: FOLDERS := tests/e2e --ignore=tests/e2e/test_testbed.py

e2e-all e2e-testbed e2e-sweeps: $(READY)
	@bash tests/require-root.sh "make test-e2e"
	$(PYTEST) -v $(FOLDERS) -m "not matrix" $(ARGS)

test-clients: $(READY) ## Run other people's programs on real kubelets, and take their pods away in every way
	@bash tests/require-root.sh "make test-clients"
	$(PYTEST) -v tests/e2e/sweeps/test_clients.py $(ARGS)

test-faults: $(READY) ## Try every fault, on library, sidecar, store and operator: hours. Some: make test-faults ARGS="--help"
	PYTHONPATH=tests/testbed:tests $(BIN)/python -m crash $(ARGS)

test-compat: $(COMPAT_READY) ## Run the tests with the published packages whose checkpoints are read and written
	PYTHONPATH=library $(COMPAT)/bin/python -m pytest -q tests/compat $(ARGS)

bench: $(READY) ## Run the benchmarks; results go to build/bench/ (needs Linux and root)
	@bash tests/require-root.sh "make bench"
	PYTHONPATH=tests/testbed:tests $(BIN)/python -m bench $(ARGS)

recordings: $(READY) ## Record anew what real kubelets publish of each way in which a pod ends (needs Linux and root)
	@bash tests/require-root.sh "make recordings"
	PYTHONPATH=tests/testbed:tests $(BIN)/python -m trial.ends tests/unit/operator/decide/recordings $(ARGS)

soak: $(READY) ## Let mirror and operator run among troubles, half an hour each, and see whether what they hold grows
	PYTHONPATH=tests/testbed:tests $(BIN)/python -m soak $(ARGS)

lint: $(READY) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(READY) ## Generate the definition, the references of API, metrics and alerts, the chart's schema and README
	$(BIN)/python -m sweep_operator.api.crd
	$(BIN)/python -m sweep_operator.api.reference
	$(BIN)/python charts/generate.py
	$(BIN)/python docs/generate.py

verify: $(READY) ## Check that what is generated is up to date
	$(BIN)/python -m sweep_operator.api.crd --check
	$(BIN)/python -m sweep_operator.api.reference --check
	$(BIN)/python charts/generate.py --check
	$(BIN)/python docs/generate.py --check

lock: $(READY) ## Lock the requirements anew
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv==$(UV_VERSION)
	for name in $(LOCKED); do build/lock/bin/uv pip $(LOCK) --output-file requirements/$$name.txt requirements/$$name.in; done
	build/lock/bin/uv pip $(LOCK) --output-file examples/digits/requirements.txt examples/digits/requirements.in

venv: $(READY) ## Build the virtual environment

$(READY): requirements/dev.txt pyproject.toml
	@bash tests/require-python.sh $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked requirements into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(COMPAT_READY): requirements/compat.txt
	@bash tests/require-python.sh $(PYTHON)
	@test -x $(COMPAT)/bin/python || $(PYTHON) -m venv $(COMPAT)
	@echo "installing the published packages into $(COMPAT)"
	@$(COMPAT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/compat.txt
	@touch $@

clean: ## Remove all local clusters, also what a killed test left, and everything that was built here
	-@test -x $(BIN)/python && tests/testbed/testbed down --all
	rm -rf /dev/shm/resumable-sweep-crash-* /dev/shm/rsw-{fire,mutations,soak,bench}-*
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
