PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export DAGSTER_DISABLE_TELEMETRY := 1

.PHONY: demo test test-fast ui lint types docs picture pictures wheel-trial bench eval eval-cache eval-contradictions faults fuzz histories tamper clean
.DEFAULT_GOAL := demo

# Bytecode is compiled here because Dagster imports some 1,400 modules and
# PYTHONDONTWRITEBYTECODE would leave every process to compile them again.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed. Fix: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m compileall -q $(VENV)/lib >/dev/null || true
	touch $(READY)

# The demo has a home of its own: its rows never meet those that you load into `.memos`.
DEMO_HOME := $(CURDIR)/.memos/demo-home
demo ui pictures: export MEMOS_HOME := $(DEMO_HOME)

demo: $(READY)
	$(BIN)/memos-assets demo .memos/demo --scale small --seed 1
	$(BIN)/memos-assets consolidate --data .memos/demo
	$(BIN)/memos-assets snapshots tour

ui: $(READY)
	$(BIN)/memos-assets ui

# Each worker would compile the tests and the package again without bytecode. Files stay whole,
# because the tests of one share what was loaded once; conftest.py puts the long ones first.
test test-fast: export PYTHONDONTWRITEBYTECODE :=
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(PYTEST)

# What starts neither a server nor a process, and one load with its proof.
test-fast: $(READY)
	$(PYTEST) -m 'not slow or smoke'

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/memos-assets check-sessions memos_assets/memory memos_assets/search memos_assets/memos_face memos_assets/session_rules
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m tools.docs

wheel-trial: $(READY)
	$(BIN)/python -m tools.wheel_trial

# Without a C++ compiler hnswlib cannot be installed; the race of searches then does without it.
bench: $(READY)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m bench

# A set of your own: make eval EVAL='--set FILE'; LoCoMo: make eval EVAL='--locomo FILE'.
eval: $(READY)
	$(BIN)/python -m eval $(EVAL)

# What the semantic cache serves of published sets: make eval-cache DATA=FOLDER, with MEMOS_EMBEDDER set.
eval-cache: $(READY)
	$(BIN)/python -m eval.cache --data $(DATA) $(EVAL)

# What is detected without a judge: make eval-contradictions DATA=FOLDER, best with MEMOS_EMBEDDER set.
eval-contradictions: $(READY)
	$(BIN)/python -m eval.contradictions --data $(DATA) $(EVAL)

faults: $(READY)
	$(BIN)/python -m faults --kills $(or $(N),100)

# Random histories of memories against a model of time: make histories N=10000.
histories: $(READY)
	MEMORY_HISTORIES=$(or $(N),10000) $(PYTEST) --dist load memos_assets_tests/memory/test_random_histories.py

tamper: $(READY)
	$(BIN)/python -m tamper

picture: $(READY)
	$(BIN)/python -m tools.architecture

fuzz: $(READY)
	$(BIN)/python -m memos_assets_tests.fuzz $(or $(MINUTES),10)

# The pictures of the README, of the state that `make demo` left. Needs Chromium; see tools/pictures.py.
pictures: $(READY)
	$(BIN)/python -m tools.pictures

clean:
	-$(BIN)/memos-assets down
	-MEMOS_HOME=$(DEMO_HOME) $(BIN)/memos-assets down
	rm -rf $(VENV) .memos
