# Everything from a bare machine with python3 and make. The environment is made in $(VENV) when first needed, and made
# anew when PYTHON is of another version.

PYTHON ?= python3
VENV ?= .venv
WAV ?=
ROWS ?=
SIZE ?= full

BIN := $(VENV)/bin
# Each is installed into an environment of its own: tests/recipes/NAME.in says what, NAME.txt which releases.
RECIPES := airflow snakemake ray jupyter
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
MADE := $(VENV)/.made-with-$(VERSION)
PIP := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check

# What the pip of a stage or the user's shell set for other programs must not reach into the environment.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help test backends demo bench stress recipes test-oldest constraints clean

heading = @printf '\n== %s\n' '$(1)'

help: ## what can be made (this text)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '%s\n' '' 'PYTHON=python3.12 chooses the interpreter (3.10 or newer), VENV=folder where the environment is made.'

test: $(VENV)/.dev ## every check: ruff, mypy, import-linter, pytest
	$(call heading,ruff check)
	@$(BIN)/ruff check .
	$(call heading,ruff format --check)
	@$(BIN)/ruff format --check .
	$(call heading,mypy --strict)
	@$(BIN)/mypy
	$(call heading,lint-imports)
	@$(BIN)/lint-imports
	$(call heading,pytest)
	@$(BIN)/python -m pytest

recipes: $(VENV)/.dev $(RECIPES:%=$(VENV)-recipes/%/.made) ## run docs/recipes with the real Airflow, Snakemake, Ray and Jupyter (Python 3.11 or newer)
	$(call heading,pytest with the recipes)
	@STAGEIO_RECIPES=$(VENV)-recipes $(BIN)/python -m pytest --numprocesses=0 -m recipes tests/recipes

backends: $(MADE) ## build Jaeger and a Collector for the tests that need them: about six minutes, once
	$(call heading,Jaeger and the Collector)
	@$(BIN)/python -m tests.backends.build

demo: $(VENV)/.speech ## the speech pipeline on the sample, or on a recording of yours: make demo WAV=/path/to/file.wav
	$(call heading,examples/speech)
	@$(BIN)/python examples/speech/run.py $(if $(WAV),--wav "$(WAV)")

stress: $(VENV)/.dev ## fifty processes on one job folder for five minutes, their work ended at random
	$(call heading,stress)
	@$(BIN)/python -m tests.stress

bench: $(VENV)/.bench ## the benchmarks, into docs/performance.md; some rows, or quicker: make bench ROWS="log_record growth" SIZE=small
	$(call heading,benchmarks)
	@$(BIN)/python -m benchmarks --write --size $(SIZE) $(if $(ROWS),--rows $(ROWS))

test-oldest: ## pytest with the oldest releases that pyproject.toml allows, in $(VENV)-oldest: make test-oldest PYTHON=python3.10
	@$(MAKE) --no-print-directory VENV=$(VENV)-oldest pytest-oldest

constraints: $(MADE) ## pin the newest releases for make test, make demo and make recipes, in tests/
	@$(PIP) uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 --extra dev --no-annotate \
		--custom-compile-command 'make constraints' --output-file tests/constraints.txt pyproject.toml
	@for name in $(RECIPES); do \
		$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-annotate \
			--custom-compile-command 'make constraints' --output-file tests/recipes/$$name.txt \
			pyproject.toml tests/recipes/$$name.in || exit; \
	done

clean: ## remove the environments, the caches and what was built
	rm -rf $(VENV) $(VENV)-oldest $(VENV)-recipes .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist

.PHONY: pytest-oldest
pytest-oldest: $(VENV)/.oldest
	$(call heading,pytest with the oldest releases allowed)
	@$(BIN)/python -m pytest -m 'not oracle'

$(MADE):
	@test -n '$(VERSION)' || { echo '$(PYTHON) does not run. Name a Python from 3.10 up: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo '$(PYTHON) is Python $(VERSION); 3.10 or newer is needed: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	$(call heading,making $(VENV) with Python $(VERSION))
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
		echo '$(PYTHON) cannot make environments. On Debian and Ubuntu: apt-get install python3-venv.' \
		'Or choose another Python: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@touch $@

$(VENV)/.dev: $(MADE) pyproject.toml tests/constraints.txt tests/instrumentation.txt
	$(call heading,installing what the checks need; this takes a minute or two)
	@$(PIP) --constraint tests/constraints.txt --editable '.[dev]'
	@$(PIP) --no-deps --requirement tests/instrumentation.txt
	@touch $@

# By uv, for these are hundreds of packages: seconds, where pip takes minutes.
$(VENV)-recipes/%/.made: tests/recipes/%.in tests/recipes/%.txt pyproject.toml $(MADE)
	$(call heading,making $(VENV)-recipes/$* with $*)
	@$(PIP) uv
	@rm -rf $(@D)
	@$(PYTHON) -m venv --without-pip $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --constraint tests/recipes/$*.txt \
		--requirement tests/recipes/$*.in --editable .
	@touch $@

$(VENV)/.speech: $(MADE) pyproject.toml tests/constraints.txt
	$(call heading,installing what the demo needs; this takes a minute)
	@$(PIP) --constraint tests/constraints.txt --editable '.[speech]'
	@touch $@

$(VENV)/.bench: $(MADE) pyproject.toml tests/constraints.txt
	$(call heading,installing what the benchmarks need)
	@$(PIP) --constraint tests/constraints.txt --editable '.[bench]'
	@touch $@

$(VENV)/.oldest: $(MADE) pyproject.toml tests/constraints-oldest.txt
	$(call heading,installing the oldest releases allowed)
	@$(PIP) --constraint tests/constraints-oldest.txt --editable '.[test]' \
		opentelemetry-instrumentation-sqlite3 opentelemetry-instrumentation-threading
	@touch $@
