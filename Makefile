# The commands of this checkout. Each says what it does in `make help`; the work is Python: lab/ and tests/.
PYTHON := $$(lab/find-python)
VENV := .lab/venv/bin
# ACCELERATE=1 runs the playbooks with mitogen: one with nothing to do takes two thirds of the time of a plain one (make bench).
# KEEP_IMAGES=1 lets demo-down keep the images.
ACCELERATE ?= 0
KEEP_IMAGES ?= 0
# What `make e2e` does under load: a name of tests/e2e/ledger/rows.py, or any command.
VERB ?= none
COMMAND ?=
ARGS ?=
OPTIONS ?=
# Which interruptions `make interrupts` tries, by number; all when empty.
STEPS ?=
# Which alerts `make alerts` makes fire, in pytest's words ("HostDown or DiskFull"); all when empty.
ALERTS ?=
# How long `make quiet` looks; a quarter of an hour when empty.
QUIET_SECONDS ?=
export COMMAND ARGS

.DEFAULT_GOAL := help
.PHONY: help demo demo-down demo-prune demo-status autoscale check check-slow sanity proof e2e e2e-self-test interrupts control-host alerts quiet test bench

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Turn this Debian machine into a running fleet, and check it from outside
	@python="$(PYTHON)" && "$$python" -m lab demo $(if $(filter 1,$(ACCELERATE)),--accelerate)

demo-down: ## Remove everything that `make demo` made, and nothing else
	@python="$(PYTHON)" && "$$python" -m lab down $(if $(filter 1,$(KEEP_IMAGES)),--keep-images)

demo-prune: ## Remove hosts that inventories/lab no longer has
	@python="$(PYTHON)" && "$$python" -m lab prune

demo-status: ## Show the hosts
	@python="$(PYTHON)" && "$$python" -m lab status

autoscale: ## Scale the demo by its signals until Ctrl-C (OPTIONS="--dry-run": decide only)
	@python="$(PYTHON)" && "$$python" -m lab autoscale $(OPTIONS)

.lab/dev-venv: lab/bootstrap.py requirements.txt requirements-dev.txt
	@python="$(PYTHON)" && "$$python" -m lab venv dev
	@touch $@

check: .lab/dev-venv ## Lint, types, unit and template tests: under two minutes, for every edit
	@$(VENV)/python -m lab check

check-slow: .lab/dev-venv ## The unit tests that take longer: alerts played by promtool
	@$(VENV)/python -m lab check-slow

sanity: .lab/dev-venv ## ansible-test sanity on the collection as it is built
	@$(VENV)/python -m lab sanity

proof: .lab/dev-venv ## Every promise, from outside, on the running fleet (after make demo)
	@$(VENV)/python -m lab proof

e2e: .lab/dev-venv ## VERB=deploy, or COMMAND="...": do it under load, and say what was lost (docs/verbs/README.md)
	@$(VENV)/python -m tests.e2e.ledger $(if $(COMMAND),--command "$$COMMAND",--verb $(VERB)) --arguments="$$ARGS" $(OPTIONS)

e2e-self-test: .lab/dev-venv ## Lose something on purpose, and see that the ledger turns red
	@$(VENV)/pytest tests/e2e/ledger/test_turns_red.py -v

interrupts: .lab/dev-venv ## VERB=deploy|switchover|scale: interrupt it at each step, and see that the next run finishes (STEPS=1-4 for some)
	@STEPS="$(STEPS)" $(VENV)/pytest tests/e2e/test_interrupted_verbs_finish.py -m interrupts -v -s $(if $(filter none,$(VERB)),,-k $(VERB))

control-host: .lab/dev-venv ## The role autoscaler as a service on a host made for it, in a dry run (after make demo; some minutes)
	@$(VENV)/pytest tests/e2e/test_the_autoscaler_is_a_service.py -m control_host -v -s

alerts: .lab/dev-venv ## Make what each alert warns of really so, and see it fire and end (hard on the demo; ALERTS="HostDown or DiskFull" for some)
	@$(VENV)/pytest tests/e2e/test_alerts_fire.py -m alerts -v -s $(if $(ALERTS),-k "$(ALERTS)")

quiet: .lab/dev-venv ## A quarter of an hour of light load on the running fleet, and no alert (QUIET_SECONDS=120 for less)
	@QUIET_SECONDS="$(QUIET_SECONDS)" $(VENV)/pytest tests/e2e/test_a_healthy_fleet_is_quiet.py -m quiet -v -s

test: ## Everything below that is a test: check, sanity, demo, proof
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory check-slow
	@$(MAKE) --no-print-directory sanity
	@$(MAKE) --no-print-directory demo
	@$(MAKE) --no-print-directory proof

bench: .lab/dev-venv ## Print the figures: demo by stage, a run with nothing to do, the filters
	@$(VENV)/python -m lab bench
