# The commands of this checkout. Each says what it does in `make help`; the work is Python: lab/ and tests/.
PYTHON := $$(lab/find-python)
VENV := .lab/venv/bin
# ACCELERATE=0 runs the playbooks without mitogen; KEEP_IMAGES=1 lets demo-down keep the images.
ACCELERATE ?= 1
KEEP_IMAGES ?= 0

.DEFAULT_GOAL := help
.PHONY: help demo demo-down demo-prune demo-status check sanity proof test bench

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Turn this Debian machine into a running fleet, and check it from outside
	@python="$(PYTHON)" && "$$python" -m lab demo $(if $(filter 0,$(ACCELERATE)),--plain)

demo-down: ## Remove everything that `make demo` made, and nothing else
	@python="$(PYTHON)" && "$$python" -m lab down $(if $(filter 1,$(KEEP_IMAGES)),--keep-images)

demo-prune: ## Remove hosts that inventories/lab no longer has
	@python="$(PYTHON)" && "$$python" -m lab prune

demo-status: ## Show the hosts
	@python="$(PYTHON)" && "$$python" -m lab status

.lab/dev-venv: lab/bootstrap.py requirements.txt requirements-dev.txt
	@python="$(PYTHON)" && "$$python" -m lab venv dev
	@touch $@

check: .lab/dev-venv ## Lint, types, unit and template tests: under two minutes, for every edit
	@$(VENV)/python -m lab check

sanity: .lab/dev-venv ## ansible-test sanity on the collection as it is built
	@$(VENV)/python -m lab sanity

proof: .lab/dev-venv ## Every promise, from outside, on the running fleet (after make demo)
	@$(VENV)/python -m lab proof

test: ## Everything below that is a test: check, sanity, demo, proof
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory sanity
	@$(MAKE) --no-print-directory demo
	@$(MAKE) --no-print-directory proof

bench: .lab/dev-venv ## Print the figures: demo by stage, a run with nothing to do, the filters
	@$(VENV)/python -m lab bench
