# Each target does all the set-up that it needs; what is there already is left alone.
PYTHON ?= python3
UV := uv==0.13.9
VENV := .venv
BIN := $(VENV)/bin
SPECS := tests/contract/node_modules/.package-lock.json tests/collector/grafana/node_modules/.package-lock.json
# A Debian user's PATH has neither mosquitto nor mkfs.
export PATH := $(PATH):/usr/sbin:/sbin
export PYTHON

.PHONY: help setup demo test bench fuzz chaos powercut lint lock clean system-demo system-test town-month

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: system-test $(VENV)/.project ## Debian packages and the virtual environment, for all that follows

demo: $(VENV)/.project ## a real agent, broker and collector on this machine (ARGS="--seconds 30 --json")
	@$(BIN)/balise demo $(ARGS)

# Most tests wait for a program or a period: three at once need half the time, on two cores too.
test: setup $(SPECS) ## every test (ARGS="-k outbox")
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

bench: setup ## the table of measured figures and their goals
	$(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/.project ## any bytes into the decoders of television and telephone, steered by coverage (ARGS="-runs=1000000")
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz_tv -max_total_time=300 $(ARGS)
	$(BIN)/python -m tests.fuzz_texts -max_total_time=300 $(ARGS)

chaos: setup ## kill -9 any part 500 times: nothing lost, nothing twice
	$(BIN)/python -m tests.faults.chaos --kills 500 --seed 1 $(ARGS)

powercut: setup ## disks as a power cut leaves them: nothing lost that was promised
	$(BIN)/python -m tests.faults.powercut $(ARGS)

town-month: $(VENV)/.project ## 1,000 simulated homes for 30 days with 60 faults: how right is the judge?
	$(BIN)/balise town run --homes 1000 --days 30 --faults collector/balise_collector/town/scripts/month.toml $(ARGS)

lint: $(VENV)/.project ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean: ## what `make` and the tools made, the virtual environment too
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis $(dir $(SPECS))
	find agent collector tests bench -name __pycache__ -prune -exec rm -rf {} +

# What others publish of their formats, which our documents are held against: AsyncAPI's JSON schemas, Grafana's types.
$(SPECS): %/node_modules/.package-lock.json: %/package-lock.json | system-test
	npm ci --prefix $* --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# What Debian lacks for the virtual environment (python3-venv) is in the demo's set.
system-demo:
	@deploy/setup-debian.sh demo

system-test:
	@deploy/setup-debian.sh test

$(BIN)/python: | system-demo
	$(PYTHON) -m venv $(VENV)

$(VENV)/.locked: requirements/dev.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Installed as it stands, without asking an index: what it needs is in the lock, its build tools too.
$(VENV)/.project: pyproject.toml $(VENV)/.locked | system-demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# One file an audience. `report` waits until something uses it: it would double the development lock.
# It resolves together with all the rest.
COMPILE = $$dir/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(ARGS) pyproject.toml

lock: ## requirements/*.txt from pyproject.toml (ARGS=--upgrade for newer versions)
	dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(PYTHON) -m venv $$dir && $$dir/bin/pip install --quiet $(UV) && \
	$(COMPILE) --output-file requirements/agent.txt && \
	$(COMPILE) --extra collector --output-file requirements/collector.txt && \
	$(COMPILE) --extra collector --extra tv --extra grafana --extra speedtest --group dev --output-file requirements/dev.txt && \
	$(subst pyproject.toml,--group fuzz,$(COMPILE)) --output-file requirements/fuzz.txt
