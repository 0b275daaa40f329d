# The dev loop. Every target installs what it needs; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.8
UV := .tools/bin/uv
RUN := $(UV) run --frozen --no-sync
export UV_PROJECT_ENVIRONMENT := .venv
export PYTHONUNBUFFERED := 1
# Compiled once, not at each start: half of what a start costs.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE

# What `make run SERVICE=…` starts, what `make demo` pairs, what `make test T=… K=…` selects, how long `make chaos` kills.
SERVICE ?= api
ENGINE ?= sandbox
EMULATOR ?=
T ?= tests
CHAOS_S ?= 1800
K ?=

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- set-up -----------------------------------------------------------------------------------------------------

$(UV):
	@echo "Installing uv $(UV_VERSION) into .tools …"
	@deploy/bootstrap-uv "$(PYTHON)" "$(UV_VERSION)"

.venv/.synced: uv.lock pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml cli/pyproject.toml) | $(UV)
	@echo "Installing the environment into .venv, from the lock …"
	@$(UV) sync --frozen --all-groups --no-group receivers --quiet
	@touch $@

# Node and Go, in which tenants receive webhooks too; the tests alone need them.
.venv/.receivers-synced: .venv/.synced
	@echo "Installing the runtimes of webhook receivers into .venv …"
	@$(UV) sync --frozen --all-groups --quiet
	@touch $@

.PHONY: setup
setup: .venv/.synced ## Install everything from the lock into .venv
	@deploy/system-packages ffmpeg libmagic1

# --- run --------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## Start the whole system, pair a device, show what it does (ENGINE=neonize: yours; with EMULATOR=1: none)
	@$(RUN) $(if $(filter 1,$(EMULATOR)),python -m tests.support.whatsapp_emulator.demo,kurir up --demo --engine $(ENGINE))

.PHONY: up
up: setup ## Start the whole system and stay up
	@$(RUN) kurir up

.PHONY: run
run: setup ## Start one service: make run SERVICE=api
	@$(RUN) kurir $(SERVICE)

.PHONY: topology
topology: setup ## Make the NATS server's streams, consumers and buckets agree with the code
	@$(RUN) kurir topology apply

.PHONY: smoke
smoke: setup ## Against whatever is up: pair a sandbox device, send, see the webhook arrive
	@$(RUN) kurir smoke

.PHONY: whatsapp-emulator
whatsapp-emulator: setup ## Start the tests' WhatsApp emulator by itself, with a page that scans QR codes
	@$(RUN) python -m tests.support.whatsapp_emulator

.PHONY: wipe
wipe: ## Forget the state of demo and up
	@rm -rf .state
	@echo "State forgotten: .state is gone."

# --- check and test ---------------------------------------------------------------------------------------------

.PHONY: check
check: .venv/.synced ## Format, lint, types, import contracts, unit tests, generated docs; under a minute
	@deploy/system-packages libmagic1
	@$(RUN) ruff format --check --quiet . || { echo "Run 'make format'."; exit 1; }
	@$(RUN) ruff check --quiet .
	@$(RUN) mypy
	@$(RUN) lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(RUN) pytest -q tests/unit
	@$(RUN) python -m docs.generate --check

.PHONY: format
format: .venv/.synced ## Format the code and mend what the linter can mend
	@$(RUN) ruff format --quiet .
	@$(RUN) ruff check --fix --quiet .

.PHONY: test
test: setup .venv/.receivers-synced ## All tests: unit, broker, contract, system (T=path K=name select)
	@deploy/system-packages chromium php-cli php-curl php-illuminate-http php-guzzlehttp-guzzle
	@$(RUN) pytest $(if $(T)$(K),,--compatibility=check) $(T) $(if $(K),-k "$(K)")

.PHONY: compatibility
compatibility: setup .venv/.receivers-synced ## Make the table of other gateways' endpoints from the tests that show them
	@deploy/system-packages chromium php-cli php-curl php-illuminate-http php-guzzlehttp-guzzle
	@$(RUN) pytest --compatibility=write -m shows

.PHONY: test-system
test-system: setup ## The system tests alone: real processes, killed at bad moments
	@$(RUN) pytest tests/system

.PHONY: chaos
chaos: setup ## Kill dispatchers, NATS and MongoDB for half an hour; no delivery may be lost (CHAOS_S=60: shorter)
	@KURIR_CHAOS_S=$(CHAOS_S) KURIR_CHAOS_TENANTS=1 $(RUN) pytest -s tests/system/test_chaos_of_deliveries.py

.PHONY: chaos-sessions
chaos-sessions: setup ## Kill, freeze, cut off and drain session nodes for half an hour; no device may have two owners
	@KURIR_CHAOS_S=$(CHAOS_S) $(RUN) pytest -s tests/system/sessions/test_a_device_has_one_owner_whatever_happens.py

.PHONY: bench
bench: setup ## Measure, each figure beside its floor in the same run
	@$(RUN) python -m benchmarks

.PHONY: docs
docs: .venv/.synced ## Write the generated documents anew (OpenAPI, AsyncAPI)
	@$(RUN) python -m docs.generate

.PHONY: lock
lock: $(UV) ## Bring uv.lock up to date with the pyproject files
	@$(UV) lock

.PHONY: clean
clean: ## Remove the environment, the tools and all caches
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .lint-imports.log
