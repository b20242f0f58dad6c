# Everything runs from a bare clone: Python 3.11 to 3.13 and make are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := pyproject.toml constraints.txt

.PHONY: demo sweeps test lint types tests long pretrained bench docs clean help

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

# Threads that wait by spinning cost a busy machine most of its time.
demo: export OMP_WAIT_POLICY = PASSIVE
demo: $(VENV)/installed ## train a small GPT on real text, with a d20 and without, three minutes
	$(BIN)/lightning-dice-train trainer.max_steps=800 trajectory=32 twin=true

sweeps: $(VENV)/installed-sweeps ## what sweeps and their reports need

test: lint types tests ## every check there is; the tests build the site too

lint: $(VENV)/installed-dev ## style, format and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/installed-dev ## mypy --strict
	$(BIN)/mypy

# One thread a process: the models are tiny, and three processes keep two cores busy.
tests: export OMP_NUM_THREADS = 1
tests: $(VENV)/installed-dev ## tests, doctests, examples of the documentation; the rules fully covered
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --doctest-modules --cov --cov-report=
	$(BIN)/coverage report --include='src/lightning_dice/rules/*' --fail-under=100
	$(BIN)/coverage report --fail-under=95

long: export OMP_NUM_THREADS = 1
long: $(VENV)/installed-dev ## tests that take minutes, before a release
	$(BIN)/python -m pytest -m long

pretrained: export OMP_NUM_THREADS = 2
pretrained: export OMP_WAIT_POLICY = PASSIVE
pretrained: $(VENV)/installed-text ## tests on a pretrained encoder, which is a download of 100 MB
	$(BIN)/python -m pytest -m pretrained

bench: export OMP_NUM_THREADS = 1
bench: $(VENV)/installed ## what dice cost on this processor, in three minutes
	$(BIN)/python benchmarks/cpu.py --out bench.json

# A notice about another version of mkdocs is no finding of ours.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/installed-dev ## the site, in site/; a broken link fails it
	$(BIN)/mkdocs build --strict

clean: ## forget the environment and what was built
	rm -rf $(VENV) site dist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(SOURCES) | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/installed-sweeps: $(SOURCES) | $(VENV)/bin/python
	$(PIP) --editable '.[sweeps]'
	touch $@ $(VENV)/installed

$(VENV)/installed-dev: $(SOURCES) | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/installed $(VENV)/installed-sweeps

$(VENV)/installed-text: $(SOURCES) | $(VENV)/bin/python
	$(PIP) --editable '.[dev,text]'
	touch $@ $(VENV)/installed $(VENV)/installed-sweeps $(VENV)/installed-dev
