# make demo and make test set up everything they need; Python 3.11 or newer is all they ask for.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
KILLS := 200
OLD := $(VENV)-lowest
LOWEST := codec qtable scoring jpeg sign_attacks attacks losses defences ensemble models checkpoints \
  data_bundled decode store counts draw tables

.PHONY: help ready demo test check lowest bench docs gpu soak commands mutations kills faults push lock system clean

help:  ## list what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 10

ready: $(READY)  ## the environment alone, in .venv

demo: $(READY)  ## search the best table for bundled handwritten digits
	$(BIN)/python jobs/qtable_search.py --eps-255 8 --strategy best-first --here

test: $(READY)  ## every test
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

check: $(READY)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy core search results jobs qtable_sweeps
	$(BIN)/python -m pytest -q tests/test_layers.py

lowest: $(READY)  ## the oldest versions that pyproject.toml allows, in .venv-lowest: 17 files of tests
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(OLD)
	$(BIN)/uv pip install --quiet --python $(OLD)/bin/python --only-binary :all: \
	  --resolution lowest-direct -r pyproject.toml --extra sweeps --extra timm
	$(BIN)/uv pip install --quiet --python $(OLD)/bin/python --only-binary :all: \
	  beartype foolbox hypothesis pytest torchattack
	$(OLD)/bin/python -m pytest -q -W default $(LOWEST:%=tests/test_%.py)

bench: $(READY)  ## every performance claim, each a ratio measured in one run
	missed=""; for claim in benchmarks/*.py; do echo "== $$claim"; \
	  $(BIN)/python $$claim || missed="$$missed $$claim"; done; \
	  test -z "$$missed" || { echo "missed:$$missed"; exit 1; }

docs: $(READY)  ## the reference of every module from its docstrings: build/api/index.html
	$(BIN)/pdoc --docformat google -o build/api qtable_sweeps.models qtable_sweeps.rows core results search jobs

gpu: $(READY)  ## a card's first hour: predictions beside measurements, written to benchmarks/results
	$(BIN)/python benchmarks/first_hour.py cuda
	$(BIN)/python benchmarks/gpu_codec.py
	$(BIN)/python benchmarks/screened.py --gpus 1 --model train:resnet50 --data photos --side 224 \
	  --epochs 8 --learning-rate 0.01
	$(BIN)/python benchmarks/sick_card.py

soak: commands mutations kills faults  ## all of these, an hour or more

mutations: $(READY)  ## a thousand stored files damaged, each read by every reader
	$(BIN)/python tests/soak/mutations.py --mutations 1000

commands: $(READY)  ## wrong command lines, each refused before Ray
	$(BIN)/python tests/soak/commands.py

kills: $(READY)  ## hundreds of kills at random moments
	$(BIN)/python tests/soak/kills.py --kills $(KILLS)
	$(BIN)/python tests/soak/tuning_kills.py --kills $(KILLS)

faults: $(READY)  ## hosts, networks, heads lost in mid-sweep; a spot interruption on a mock of AWS; the whole demo
	$(BIN)/python -m pytest -q -s -m soak tests/cluster tests/test_readme.py

CLUSTER ?= cluster.yaml

push: $(READY)  ## bring a running cluster's head up to date with this repository
	$(BIN)/ray rsync-up $(CLUSTER)

lock: $(READY)  ## pin every version and hash anew
	$(BIN)/uv pip compile pyproject.toml --extra sweeps --extra test --extra timm --extra aws \
	  --extra postgresql --extra dashboard --universal \
	  --python-version 3.11 --generate-hashes --no-header --quiet --upgrade -o requirements.lock

system:  ## Debian's packages that some tests need: ssh hosts, tmux, a PostgreSQL server, a browser, Slurm
	apt-get update -qq && apt-get install -qq -y --no-install-recommends \
	  openssh-server rsync iproute2 tmux postgresql chromium slurmctld slurmd slurm-client

clean:  ## remove what make made, but no results
	rm -rf $(VENV) $(OLD) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

$(READY): requirements.lock requirements-uv.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, found: $$($(PYTHON) --version 2>&1)."; \
	    echo "Hint: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $(READY)
