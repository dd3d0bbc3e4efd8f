# Everything that a developer does here, each with one word. `make help` lists them.
# PYTHON=python3.12 make test   chooses the interpreter; ARGS="-k pool" is handed on.
# TEST_PROCESSES=0 make test    runs all tests in one process.

VENV ?= .venv
TEST_PROCESSES ?= 2
PY := $(VENV)/bin/python
export VENV PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test vectors lint format bench fuzz chaos lock clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  \033[1mmake %-10s\033[0m %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv with the locked packages (the others call it; it runs once)
	@scripts/setup.sh

demo: setup ## Register, verify, transfer and prove patches on a chain of this machine
	@$(PY) -m demo $(ARGS)

dev: setup ## Run the whole system in the foreground with its logs; Ctrl-C stops it
	@$(PY) manage.py devnet up $(ARGS)

test: setup ## Run every test
	@$(PY) -m pytest -n $(TEST_PROCESSES) --dist worksteal $(ARGS)

vectors: setup ## Run the public vectors through every check (PATCHPROOF_VECTORS names the folder)
	@test -d "$$PATCHPROOF_VECTORS" || { echo "PATCHPROOF_VECTORS names no folder" >&2; exit 2; }
	@$(PY) -m pytest tests/unit/*/test_public_vectors.py $(ARGS)

lint: setup ## Check style, formatting, types and the direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

format: setup ## Format the code and mend what can be mended
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

bench: setup ## Measure (tests/bench, see docs/benchmarks.md)
	@$(PY) -m pytest -s -p no:randomly -p no:logging tests/bench $(ARGS)

fuzz: setup ## Send every route much more nonsense than tests do (FUZZ_EXAMPLES=1000 ARGS="-k svd")
	@FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-300} $(PY) -m pytest --timeout=0 tests/contracts/test_fuzzing.py $(ARGS)

chaos: setup ## Kill, stop and deceive everything (ARGS="--seed 7 --kills 200"; docs/chaos.md)
	@$(PY) -m tests.chaos $(ARGS)

lock: setup ## Lock the dependencies of setup.cfg anew (UPGRADE=1 takes newer ones)
	@scripts/lock.sh

clean: ## Stop the devnet and remove what runs and tools have left
	@if [ -x $(PY) ]; then $(PY) manage.py devnet down || true; fi
	@rm -rf var build dist htmlcov .coverage .hypothesis *.egg-info
	@rm -rf clients/python/build clients/python/dist clients/python/*.egg-info
	@rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## The same, and remove .venv
	@rm -rf $(VENV)
