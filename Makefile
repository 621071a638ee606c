# `make` alone lists the targets. In front of them all stands .venv, made from requirements/*.lock where it is missing or old.
#   PYTHON=python3.12 make venv   another Python (3.11 or 3.12)       KIND=cpu|gpu   the lock, where the guess is wrong

BIN := .venv/bin
OUT ?= runs/sample
# A file's tests share what they set up. In the order of the files: by number of tests, the longest would come last.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-all lint format docs bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "make %-10s %s\n", $$1, $$2 }'

venv: ## .venv with all packages of the lock, and this project
	@requirements/install.sh $(KIND)

demo: venv ## the sample scenario, from logs to the reports of iALP and LEA
	$(BIN)/ialp run sample --out $(OUT)
	$(BIN)/ialp lea sample --out $(OUT)
	@echo "The reports: file://$(abspath $(OUT))/report/index.html (iALP), file://$(abspath $(OUT))/ranking/index.html (LEA)"

test: venv ## the tests that take seconds
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: venv ## all tests
	$(BIN)/python -m pytest $(PARALLEL)

lint: venv ## ruff and mypy; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv ## ruff's fixes and layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: venv ## the documentation, into site/
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A benchmark that needs a data set has an option --data, one that downloads --fetch; the others run here.
bench: venv ## the benchmarks that need no data
	@for file in $$(grep -L -e '--data' -e '--fetch' benchmarks/*.py); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean: ## remove caches and site/; results and .venv stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis dist site
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
