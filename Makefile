# The commands of this repository; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help run test check bench demo faults up down install lock events import-gohorse platform-admin
.SILENT:

PYTHON_BIN := .venv/bin/python
# What `uv pip compile` must not put into the lock: our own members.
MEMBERS := $(patsubst name = "%",%,$(shell sed -n 's/^name = "\(.*\)"/\1/p' libs/*/pyproject.toml gateway/pyproject.toml \
	services/*/pyproject.toml deploy/local/pyproject.toml))
CHECKED := libs gateway services deploy tests-e2e

help: ## this list
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-24s %s\n", $$1, $$2 }'

run: ## install what is missing, start everything, print `ready: http://...`; Ctrl-C stops it (PORT, PROCESSES=each)
	deploy/local/bootstrap.sh
	$(PYTHON_BIN) -m runner

# Each worker starts servers of its own, so given ones have a single worker.
WORKERS ?= $(if $(TEST_DATABASE_URL)$(TEST_AMQP_URL),0,4)

test: ## install what is missing, then lint, types, architecture and every test (ARGS="-n 0 -k name" for some)
	AMQP_URL=$${TEST_AMQP_URL:-} deploy/local/bootstrap.sh
	checked=0; $(MAKE) --no-print-directory .static || checked=$$?; \
	$(PYTHON_BIN) -m pytest -n $(WORKERS) $(ARGS) && exit $$checked

check: ## lint, formatting, types, imports, architecture
	deploy/local/bootstrap.sh no-broker
	$(MAKE) --no-print-directory .static
	$(PYTHON_BIN) -m pytest -q libs/testkit/tests/test_architecture.py

.PHONY: .static
.static:
	.venv/bin/ruff check --quiet $(CHECKED)
	.venv/bin/ruff format --quiet --check $(CHECKED)
	.venv/bin/mypy $(CHECKED)
	.venv/bin/lint-imports --no-logo

demo: ## publish a mail job to the running system as the Go core does, and show what arrived
	$(PYTHON_BIN) -m runner.demo

bench: ## measure the gateway and the mailer beside their rivals
	deploy/local/bootstrap.sh
	$(PYTHON_BIN) tests-e2e/benchmarks/run.py $(ARGS)

faults: ## play the faults and print each promise with its verdict (SCALE=1 for the full bars, SEED=n to replay)
	deploy/local/bootstrap.sh
	$(PYTHON_BIN) tests-e2e/faults/run.py $(ARGS)

up: ## the whole topology in containers (compose.yaml)
	[ -f .env ] || deploy/compose/secrets.sh
	docker compose up --build --wait

down: ## stop the containers; their data stays
	docker compose down

install: ## the virtual environment alone
	deploy/local/bootstrap.sh no-broker

lock: ## pin the dependencies again after a pyproject.toml changed
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --group dev \
		$(addprefix --no-emit-package ,$(MEMBERS)) --no-header -o requirements.lock

events: ## write docs/events anew from the contracts
	$(PYTHON_BIN) -m contracts.catalogue docs/events

import-gohorse: ## copy settings and templates from the old database: make import-gohorse DSN=postgresql://... [TENANT=uuid]
	[ -n "$(DSN)" ] || { echo "usage: make import-gohorse DSN=postgresql://user:password@host/database" >&2; exit 2; }
	$(PYTHON_BIN) -m runner.join mailer mailer.app import-gohorse "$(DSN)" $(TENANT)

platform-admin: ## make an administrator of the running system: make platform-admin EMAIL=... [NAME="..."] [REVOKE=1]
	[ -n "$(EMAIL)" ] || { echo 'usage: make platform-admin EMAIL=me@example.com [NAME="My Name"] [REVOKE=1]' >&2; exit 2; }
	$(PYTHON_BIN) -m runner.join tenants tenants.app platform-admin $(if $(REVOKE),--revoke) "$(EMAIL)" $(if $(NAME),"$(NAME)")
