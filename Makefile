# Two commands: `make demo` and `make test`; each does its whole set-up.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test test-kubernetes check format lint types floors bench soak clean

help:
	@echo "make demo    the whole story on this machine, until Ctrl-C"
	@echo "make test    all tests"
	@echo "make check   format, lint, types, floors, tests"
	@echo "make bench   figures, as ratios against baselines in the same run"
	@echo "make test-kubernetes  the driver against a real control plane in KUBE_BIN (docs/kubernetes.md)"
	@echo "make soak    Slack in trouble for 3 x 10 minutes; SOAK_MINUTES=2 for less"

.venv: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Stopsign needs Python 3.11 or newer; set PYTHON=/path/to/it") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch .venv

# What only tests and checks need; who wants to see the demo need not wait for it.
.venv/dev: .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --group dev
	@touch .venv/dev

demo: .venv
	$(BIN)/stopsign demo

# Most tests wait for something, so three processes share two cores. What they made the bot send to Slack is judged last.
test: .venv/dev
	@rm -rf .sent && mkdir .sent
	SENT_TO_SLACK=$(CURDIR)/.sent $(BIN)/pytest --numprocesses 3 --dist loadfile --ignore tests/conformance
	SENT_TO_SLACK=$(CURDIR)/.sent $(BIN)/pytest tests/conformance
	@rm -rf .sent

check: format lint types floors test

format: .venv/dev
	$(BIN)/ruff format --check bot tests bench

lint: .venv/dev
	$(BIN)/ruff check bot tests bench

types: .venv/dev
	$(BIN)/mypy

floors: .venv/dev
	$(BIN)/lint-imports

bench: .venv/dev
	$(BIN)/python -m bench

soak: .venv/dev
	$(BIN)/pytest tests/soak -q -s

test-kubernetes: .venv/dev
	$(BIN)/pytest tests/cluster -q

clean:
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache dist tests/conformance/node_modules
