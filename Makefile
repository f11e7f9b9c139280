# make quickstart   create .venv, install, learn a short sequence and print what was forgotten
# make test         install what the tests need, lint, type-check, test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_DIR ?= runs/quickstart

.PHONY: install quickstart lint test test-processors test-slow bench study docs clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

# A second call goes on with what the first one left, or shows what it found.
quickstart: install
	@if [ -e $(RUN_DIR)/config.yaml ]; then $(BIN)/lifelong-rl resume $(RUN_DIR); \
	else $(BIN)/lifelong-rl run --sequence arm3 --agent sac --method ewc --seed 0 --run-dir $(RUN_DIR); fi

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest --numprocesses auto

# The tests that compare with committed numbers, as on processors with fewer instructions.
test-processors: install
	$(BIN)/python scripts/check_processors.py

test-slow: install
	$(BIN)/python -m pytest -m slow

bench: install
	$(BIN)/python scripts/bench_envs.py
	$(BIN)/python scripts/bench_agents.py
	$(BIN)/python scripts/bench_rendering.py

# Two hours on two cores; called again it goes on, and in the end rebuilds the page.
study: install
	$(BIN)/lifelong-rl sweep studies/first_study.yaml
	$(BIN)/python scripts/study_page.py --runs runs/first_study

# Pages in docs/_build/html.
docs: install
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

clean:
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache
