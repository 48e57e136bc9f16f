# Flotilla's commands. `make` alone lists them.
SHELL := /bin/bash
# Any Python from 3.11 on.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
RUN_FILES := requirements/run.txt requirements/embedded.txt requirements/examples.txt requirements/modelserver.txt
DEVELOPMENT := FLOTILLA_ENV=development
# Bytecode is kept, whatever the shell says: else each of a dozen processes compiles everything at each start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo up test check format requirements bench test-kube schema clean

help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: .venv/.installed-run ## Start everything, run the main job, serve until Ctrl-C (ONCE=1: stop after it)
	@$(BIN)/python -m controlplane.embedded --demo

up: .venv/.installed-run ## Start everything and serve until Ctrl-C (FLOTILLA_PORT, FLOTILLA_HOST, FLOTILLA_PUBLIC_URL, FLOTILLA_DATA_DIR, FLOTILLA_LOCAL_CLUSTERS)
	@$(BIN)/python -m controlplane.embedded

test: .venv/.installed-dev ## Run all tests on a real Postgres, a real Valkey and the local cluster (ARGS="tests/core -x")
	@$(BIN)/python scripts/browser.py
	@$(BIN)/python scripts/helm_tools.py
	@$(BIN)/python scripts/prometheus_tool.py
	$(BIN)/pytest -n auto --dist loadscope $(ARGS)

check: .venv/.installed-dev ## Check style, types, import contracts, migrations, the API's schema, sizes, dead code, templates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict controlplane apps kubevalues localcluster modelserver scripts benchmarks manage.py
	$(BIN)/mypy --strict examples/digits
	$(BIN)/mypy --strict -p examples.demo
	$(BIN)/mypy --strict client/flotilla_client
	$(BIN)/lint-imports
	$(DEVELOPMENT) $(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(DEVELOPMENT) $(BIN)/python scripts/api_schema.py --check
	$(BIN)/python scripts/size_guard.py
	$(BIN)/python scripts/dead_code.py
	$(BIN)/python scripts/check_templates.py

format: .venv/.installed-dev ## Put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: .venv/.installed-dev ## Write docs/openapi.yaml anew
	$(DEVELOPMENT) $(BIN)/python scripts/api_schema.py

bench: .venv/.installed-dev ## Run the benchmarks of one plane (NAME=clusters, ARGS="pages" for a part)
	@test -n "$(NAME)" || { echo "Say which: make bench NAME=clusters"; exit 2; }
	@$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

test-kube: .venv/.installed-dev ## Run tests/kube on the cluster of KUBECONFIG (HOLLOW=1: its nodes run no processes)
	@test -n "$$KUBECONFIG" || { echo "Say which cluster: KUBECONFIG=~/.kube/config make test-kube"; exit 2; }
	$(BIN)/pytest tests/kube --kubeconfig "$$KUBECONFIG" $(if $(HOLLOW),--hollow-nodes) $(ARGS)

requirements: .venv/.installed-run ## Pin requirements/*.txt anew out of requirements/*.in
	@for name in run embedded examples modelserver dev installer; do \
	  $(BIN)/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes --no-header \
	    --no-emit-index-url --no-emit-find-links requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## Remove the environment and the caches; the data in .flotilla/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis staticfiles test-results
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found."; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: $(PYTHON) is older. Use PYTHON=/path/to/python3.11."; exit 2; }
	@echo "Making .venv with $(PYTHON)"
	@"$(PYTHON)" -m venv .venv

# Installed again only when a requirement file changed.
.venv/.installed-run: $(RUN_FILES) | .venv/bin/python
	@echo "Installing pinned requirements (the first time takes a minute)"
	@$(BIN)/python scripts/install.py $@ $(RUN_FILES)
	@$(BIN)/python scripts/precompile.py

.venv/.installed-dev: requirements/dev.txt .venv/.installed-run
	@echo "Installing what tests and checks need"
	@$(BIN)/python scripts/install.py $@ requirements/dev.txt
