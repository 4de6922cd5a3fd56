# Everything a developer does, on a machine that has only Python and make. `make help` lists it.

PYTHON ?= python3
# newest, or floor: the oldest releases that we say we work with.
VERSIONS ?= newest
# One environment per choice: .venv for the defaults, else .venv-3.13, .venv-3.10-floor and so on.
ifeq ($(PYTHON) $(VERSIONS),python3 newest)
VENV ?= .venv
INTERPRETER := $(PYTHON)
else
INTERPRETER := $(shell tools/find_python "$(PYTHON)" || echo $(PYTHON))
VENV ?= .venv-$(shell $(INTERPRETER) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none)$(patsubst %,-%,$(filter-out newest,$(VERSIONS)))
endif

HOST ?= 127.0.0.1
PORT ?= 5000
MODE ?= threading
QUEUE ?=
WORKERS ?= 1
CASE ?= event

PLUGINS := $(sort $(notdir $(patsubst %/pyproject.toml,%,$(wildcard plugins/[a-z]*/pyproject.toml))))
CHECKED := flask_socketio_core tests tools examples
BIN = $(VENV)/bin
RUN_TESTS = $(BIN)/python tools/run_tests.py
# The groups of tests that tools/run_tests.py knows.
GROUPS := core threading clients protocol cluster compat demo ending field hostile soak third_party workers recovery packaging $(PLUGINS)
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help venv demo test $(addprefix test-,$(GROUPS)) lint format types docs wheels machine brokers bench profile fuzz soak changelog clean python

help:  ## list these targets
	@sed -n 's/^\([a-z<> -]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'
	@echo "  make test-NAME        one group of tests: $(filter-out $(PLUGINS),$(GROUPS))"
	@echo "                        $(PLUGINS)"
	@echo "PYTHON=python3.13 chooses another interpreter, VERSIONS=floor the oldest dependencies that we support;"
	@echo "each choice has an environment of its own."

python:
	@$(INTERPRETER) -c '' 2>/dev/null || { echo "error: there is no '$(PYTHON)' that runs here: install Python 3.10 or newer, or name yours with PYTHON=..." >&2; exit 1; }
	@$(INTERPRETER) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "error: '$(PYTHON)' is older than Python 3.10: name a newer one with PYTHON=..." >&2; exit 1; }

venv: python  ## make the virtual environment, or bring it up to date
	@$(INTERPRETER) tools/venv.py --venv $(VENV) --versions $(VERSIONS)

demo: python  ## run the chat example; MODE=gevent QUEUE=redis://... WORKERS=2 HOST= PORT= choose its parts
	@$(INTERPRETER) tools/venv.py --venv $(VENV) --for demo --mode "$(MODE)" --queue "$(QUEUE)"
	@if command -v npm >/dev/null && [ -f examples/chat/package.json ]; then \
		[ -d examples/chat/node_modules ] || (cd examples/chat && npm ci --silent --no-audit --no-fund) \
			|| echo "npm could not fetch the browser's client: the page takes it from its CDN" >&2; fi
	@$(BIN)/python examples/chat/$(if $(filter-out 1,$(WORKERS)),workers.py --workers "$(WORKERS)",app.py) --mode "$(MODE)" --queue "$(QUEUE)" --host "$(HOST)" --port "$(PORT)"

test: venv machine  ## run every test; REQUIRE_BROKERS=1: nothing may be missing; TESTS="core threading", JOBS=1
	@[ -n "$(TESTS)" ] || $(INTERPRETER) tools/venv.py --venv $(VENV) --for uwsgi || echo "==> uWSGI could not be built: its tests skip" >&2
	@$(RUN_TESTS) $(TESTS)

$(addprefix test-,$(GROUPS)): test-%: venv
	@$(RUN_TESTS) $*

lint: venv  ## check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: venv  ## mend style and format as far as ruff can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# One run per plugin, because every plugin has modules of the same names under tests/; the benchmarks are scripts.
types: venv  ## check types
	@status=0; \
	$(BIN)/mypy $(CHECKED) || status=1; \
	MYPYPATH=benchmarks $(BIN)/mypy benchmarks || status=1; \
	for plugin in $(PLUGINS); do \
		MYPYPATH=plugins/$$plugin $(BIN)/mypy plugins/$$plugin || status=1; \
	done; exit $$status

# Every page anew (-E), because a warning about a page that has not changed since is not repeated.
docs: venv  ## make the documentation as a site, in site/; a warning is an error
	@$(INTERPRETER) tools/venv.py --venv $(VENV) --for docs
	@$(BIN)/python -m sphinx -q -E -W --keep-going -c docs -d .cache/doctrees . site
	@echo "==> site/index.html"

wheels: venv  ## build the wheels into dist/
	@rm -rf dist
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . $(addprefix ./plugins/,$(PLUGINS))
	@ls dist

machine: python  ## install what the tests use besides Python: brokers, Node.js, Chromium (needs root)
	@$(INTERPRETER) tools/machine.py

brokers: venv  ## run brokers in the foreground and print their URLs; KINDS="redis rabbitmq kafka"
	@PYTHONPATH=tests $(BIN)/python -m support.brokers $(KINDS)

fuzz: venv  ## try the parsers with broken input; MINUTES=30 in all
	@$(BIN)/python tools/fuzz.py $(or $(MINUTES),5)

soak: venv  ## let clients come and go for MINUTES=10; MODE=gevent QUEUE=redis, redis-streams, rabbitmq, kafka, kombu
	@PYTHONPATH=tests $(BIN)/python -m soak --minutes "$(or $(MINUTES),10)" --mode "$(MODE)" --queue "$(or $(QUEUE),redis)" $(ARGS)

bench: venv  ## run the benchmarks; ARGS="..." are passed on
	@$(INTERPRETER) tools/venv.py --venv $(VENV) --for bench
	@$(INTERPRETER) tools/machine.py benchmarks/servers
	@$(BIN)/python benchmarks/run.py $(ARGS)

profile: venv  ## say where a server's CPU time goes; MODE=gevent CASE=event (or broadcast, connect)
	@$(INTERPRETER) tools/venv.py --venv $(VENV) --for bench
	@$(BIN)/python benchmarks/profile_server.py "$(MODE)" "$(CASE)" $(ARGS)

changelog: python  ## show the next release's changes; VERSION=0.2.0 moves them into CHANGELOG.md
	@$(INTERPRETER) tools/changelog.py --version "$(VERSION)"

clean:  ## remove whatever make made
	rm -rf .venv .venv.lock .venv-* .cache dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf tests/js/node_modules examples/chat/node_modules plugins/admin_ui/flask_socketio_admin_ui/page
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
