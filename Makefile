# Thin: each target is one or two commands, and everything it says can be typed by hand.
# Variables: PYTHON (what makes the virtual environment), CLUSTER=current (demo-cluster on the kube context you have),
# ARGS (passed on: make test ARGS='-k ledger').
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
CLUSTER ?= testbed
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-cluster test test-cluster test-alerts check generate bench bench-gate bench-figures bench-tuner image chaos chaos-full scale

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(STAMP) ## Virtual environment with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "Needs Python 3.11 or newer with venv (on Debian: apt install python3-venv), or PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt hatchling editables
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[operator,runtime,schemas,bench,dev]'
	@touch $@

demo: $(STAMP) ## A consumer tuned on this machine, without Kubernetes (two minutes); writes build/demo.json
	$(BIN)/python -m parallel_consumer_operator local -f examples/short-io-async/parallelconsumer.yaml $(ARGS)

demo-cluster: $(STAMP) ## The same on a real cluster, of the testbed or CLUSTER=current; writes build/demo-cluster.json
	$(BIN)/python -m testbed.demo --cluster $(CLUSTER) $(ARGS)

test: $(STAMP) ## Unit, simulation, and integration on a real Kafka: all that needs no cluster
	$(BIN)/pytest -n 2 --dist loadfile -m "not cluster" --ignore=tests/e2e tests $(ARGS)

test-cluster: $(STAMP) ## Integration on a real API server, the chart, and end to end on pods
	$(BIN)/pytest -m "cluster and not alerts" tests $(ARGS)

test-alerts: $(STAMP) ## Every alert of the runbook from a real fault to Alertmanager, with its shipped `for` (nine minutes)
	$(BIN)/pytest -m alerts tests/e2e $(ARGS)

check: $(STAMP) ## Style, types, layers, house rules, and generated files up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy charts
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/test_tidy.py
	$(BIN)/python -m parallel_consumer_operator generate --check
	$(BIN)/python charts/generate.py --check

generate: $(STAMP) ## Write the CRD, the reference pages and the chart's generated files anew
	$(BIN)/python -m parallel_consumer_operator generate
	$(BIN)/python charts/generate.py

bench: $(STAMP) ## Compare with the peers on one topic, broker and machine; writes build/compare.json
	$(BIN)/python -m benchmarks.compare $(ARGS)

bench-gate: $(STAMP) ## Rates and p99 of a small matrix against this machine's stored run; fails on a regression
	$(BIN)/python -m benchmarks.gate $(ARGS)

bench-figures: $(STAMP) ## Cost over size, memory, idling, members, kills: figures with targets; build/figures.json
	$(BIN)/python -m benchmarks.figures $(ARGS)

bench-tuner: $(STAMP) ## Compare the tuner with a grid search, every workload in virtual time (5 minutes); build/autotune.json
	$(BIN)/python -m benchmarks.autotune --simulate --jobs 2 $(ARGS)

image: $(STAMP) ## Build both container images with buildah and give them to the testbed's node
	$(BIN)/python -m testbed image $(ARGS)

chaos: $(STAMP) ## Seeded faults on real Kafka: each two of mode, ordering, protocol and faults (10 minutes); build/chaos.json
	$(BIN)/python -m benchmarks.chaos $(ARGS)

chaos-full: $(STAMP) ## All modes x orderings x faults, then a soak of all modes (an hour; goes on where it ended); build/chaos-full.json
	$(BIN)/python -m benchmarks.chaos --matrix full --soak --resume --output build/chaos-full.json $(ARGS)

scale: $(STAMP) ## A thousand resources on a real API server: what they cost the operator; writes build/scale.json
	$(BIN)/python -m benchmarks.scale $(ARGS)
