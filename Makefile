# make quickstart   create .venv, install the package, learn a short sequence, print what was forgotten
# make test         install what the tests need too, lint, type-check, test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
RUN_DIR ?= runs/quickstart

.PHONY: install dev metaworld quickstart lint test test-metaworld test-fuzz test-processors test-wheel test-slow bench study leaderboard docs clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

# What developers need beside it; groups of dependencies came with pip 25.1.
dev: $(VENV)/.dev

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) --group dev
	touch $@

# Meta-World beside the rest: what it needs, then itself without its own pins, of an older MuJoCo.
metaworld: install
	$(PIP) --editable ".[metaworld]"
	$(PIP) --no-deps metaworld==3.1.1

# A second call goes on with what the first one left, or shows what it found.
quickstart: install
	@if [ -e $(RUN_DIR)/config.yaml ]; then $(BIN)/lifelong-rl resume $(RUN_DIR); \
	else $(BIN)/lifelong-rl run --sequence arm3 --agent sac --method ewc --seed 0 --run-dir $(RUN_DIR); fi

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest --numprocesses auto
	$(BIN)/python -m pytest --numprocesses auto -m "device and not slow"

# What `make test` skips without Meta-World.
test-metaworld: dev metaworld
	$(BIN)/python -m pytest tests/envs/test_metaworld.py tests/envs/test_continual_world.py -m "not fuzz and not device"

# A minute of random input for every command; longer by hand, see tests/fuzz/test_commands.py.
test-fuzz: dev
	$(BIN)/python -m pytest -m fuzz --fuzz-seconds 60

# The tests that compare with committed numbers, as on processors with fewer instructions.
test-processors: dev
	$(BIN)/python scripts/check_processors.py

# The package as others install it: a wheel, in an environment with nothing else, from another folder.
WHEEL := build/wheel
test-wheel: dev
	rm -rf $(WHEEL)
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir $(WHEEL) .
	$(PYTHON) -m venv $(WHEEL)/env
	$(WHEEL)/env/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(WHEEL)/*.whl
	cd $(WHEEL) && env/bin/lifelong-rl run --sequence reach --agent bc --steps-per-task 600 --eval-episodes 5 --run-dir run --quiet
	cd $(WHEEL) && env/bin/lifelong-rl report run --out report.html
	cd $(WHEEL) && if env/bin/lifelong-rl doctor | grep -q "^ok *rendering"; then \
	  env/bin/lifelong-rl record --run-dir run --out clips --format gif; fi
	cd $(WHEEL) && env/bin/lifelong-rl list

test-slow: dev
	$(BIN)/python -m pytest -m "slow and not device"
	$(BIN)/python -m pytest -m "slow and device"

bench: install
	$(BIN)/python scripts/bench_envs.py
	$(BIN)/python scripts/bench_agents.py
	$(BIN)/python scripts/bench_rendering.py

# Two hours on two cores; called again it goes on, and in the end rebuilds the page.
study: install
	$(BIN)/lifelong-rl sweep studies/first_study.yaml
	$(BIN)/python scripts/study_page.py --runs runs/first_study

# The leaderboard's page, and whether others rank alike, from the rows in docs/leaderboard.
leaderboard: install
	$(BIN)/python scripts/leaderboard.py
	$(BIN)/python scripts/rank_agreement.py

# Pages in docs/_build/html.
docs: dev
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

clean:
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache
