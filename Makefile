# make demo     the sample scenario from logs to report            make test      the tests that take seconds
# make lint     ruff and mypy                                      make test-all  all tests
# make bench    the benchmarks that need no data                   make clean     caches; results and .venv stay
# make venv     only .venv; KIND=cpu or KIND=gpu overrides what the machine suggests

BIN := .venv/bin
OUT ?= runs/sample
# A file's tests share what they set up. In the order of the files: by number of tests, the longest would come last.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: venv demo test test-all lint bench clean

venv:
	@requirements/install.sh $(KIND)

demo: venv
	$(BIN)/ialp run sample --out $(OUT)
	@echo "The report: file://$(abspath $(OUT))/report/index.html"

test: venv
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: venv
	$(BIN)/python -m pytest $(PARALLEL)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A benchmark that needs a data set has an option --data; the others run here.
bench: venv
	@for file in $$(grep -L -e '--data' benchmarks/*.py); do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
