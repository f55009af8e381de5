# Needs GNU make (3.81 is enough) and a Python of 3.11 or newer; everything else is installed into $(VENV).

# The first of these that is new enough makes the environment. PYTHON=/path/to/python names one.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
# A second environment beside the first: make test PYTHON=python3.12 VENV=.venv312
VENV ?= .venv
# Versions to try instead of the newest: make test VENV=.venv-old PINS="redis==6.0.* attrs==23.1.*"
PINS ?=
# Handed to the program that a target runs: make test ARGS="-k claim -x"
ARGS ?=
# How many tests run at once: more than two cores, because many wait for a process or a server
JOBS ?= 4

# Container images often set this; each of the many processes of tests would compile the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

PY = $(VENV)/bin/python
CODE = pyxqueue tests $(wildcard examples)
SPHINX = $(PY) -m sphinx -q -W --keep-going -b html docs
EXAMPLES = examples/thirdparty_backend examples/thirdparty_serializer

.PHONY: help
help:  ## Say what there is (the default)
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | \
	  while IFS='|' read -r name what; do printf '  make %-11s %s\n' "$$name" "$$what"; done
	@echo
	@echo '  ARGS="-k claim" is handed on; PYTHON=python3.12 VENV=.venv312 takes another interpreter.'

.PHONY: demo
demo: $(VENV)/.demo-stamp  ## See it work: workers, tasks, and no server
	$(PY) examples/demo.py $(ARGS)

.PHONY: test
test: $(VENV)/.test-stamp  ## Run the tests on every server that this platform has
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: soak
soak: $(VENV)/.test-stamp  ## Run the long tests with random faults
	$(PY) -m pytest -m soak --timeout 1800 $(ARGS)

.PHONY: mutants
mutants: $(VENV)/.test-stamp  ## Plant faults in the code, and see whether the tests notice them
	$(PY) -m tests.mutants.run $(ARGS)

.PHONY: check
check: lint types pages layers  ## Lint, formatting, types, docs and layers, all without a warning

.PHONY: lint
lint: $(VENV)/.dev-stamp
	$(PY) -m ruff check
	$(PY) -m ruff format --check

.PHONY: types
types: mypy pyright

.PHONY: mypy
mypy: $(VENV)/.dev-stamp
	$(PY) -m mypy $(CODE)

.PHONY: pyright
pyright: $(VENV)/.dev-stamp
	$(PY) -m pyright --pythonpath $(PY)

.PHONY: layers
# All tests are collected for it, which compiles them: each process of `make test` would do so by itself, for 7 s.
layers: $(VENV)/.dev-stamp
	$(PY) -m pytest -q -k test_architecture

.PHONY: format
format: $(VENV)/.dev-stamp  ## Put the code into the house format
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

.PHONY: docs
docs: $(VENV)/.dev-stamp  ## Build the documentation into docs/_build
	$(SPHINX) docs/_build $(ARGS)

# The warnings are the same without the theme, whose tree of all pages on each page takes half of the time.
.PHONY: pages
pages: $(VENV)/.dev-stamp
	$(SPHINX) docs/_build/plain -D html_theme=basic

.PHONY: bench
bench:  ## Measure the speed beside other queues, each in an environment of its own
	@$(MAKE) VENV=.venv-bench measure

.PHONY: measure
measure: $(VENV)/.bench-stamp
	$(PY) benchmarks/run.py $(ARGS)

.PHONY: bench-work
bench-work:  ## Measure other kinds of work than no-ops, depth, idle and memory
	@$(MAKE) VENV=.venv-bench measure-work

.PHONY: measure-work
measure-work: $(VENV)/.bench-stamp
	$(PY) benchmarks/work.py $(ARGS)

.PHONY: bench-check
bench-check: $(VENV)/.test-stamp  ## Compare what a task costs with a baseline: commands, calls, bytes
	$(PY) benchmarks/counts.py $(ARGS)

.PHONY: build
build: $(VENV)/.dev-stamp  ## Build the wheel and the source archive into dist
	$(PY) -m build $(ARGS)

.PHONY: clean
clean:  ## Delete what was built and cached, not the environments
	rm -rf build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find pyxqueue tests -name __pycache__ -type d -prune -exec rm -rf {} +

# `.test-stamp` says that the dependency group `test` is installed as pyproject.toml now has it; `dev`, `bench` likewise.
# The example packages are installed too: only so are their entry points found.
$(VENV)/.%-stamp: pyproject.toml $(EXAMPLES:%=%/pyproject.toml) | $(PY)
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	$(PY) -m pip install --quiet --editable . $(EXAMPLES:%=--editable ./%) --group $* $(PINS)
	@touch $@

# The stamps of an environment whose Python is gone would lie about the new one.
$(PY):
	@for python in $(PYTHON); do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$(VENV): made with $$($$python --version)"; \
	    rm -f $(VENV)/.*-stamp; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	  bare=$$python; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "$$bare cannot make an environment: its ensurepip or venv is missing. On Debian and Ubuntu:" >&2; \
	  echo "    apt install python3-venv" >&2; \
	else \
	  echo "No Python of 3.11 or newer among: $(PYTHON). Name one: make PYTHON=/path/to/python" >&2; \
	fi; \
	exit 1
