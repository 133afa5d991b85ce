# Two commands matter: `make demo` shows everything once, `make test` proves it. All are safe to repeat.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help install check docs test test-long demo clean

help:
	@echo "make demo       train, evaluate, score a file, start the service, POST a record"
	@echo "make test       run the tests (make test-long: those that take minutes, or try more)"
	@echo "make check      format, lint, types"
	@echo "make docs       build the documentation into docs/_build/html"
	@echo "make install    create $(VENV) with everything"

# An editable package is not compiled when it is installed, as others are: every start would do it.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "vaewatch needs Python 3.11 or later; " + sys.executable + " is " + sys.version.split()[0] + ". Choose another one: make PYTHON=/path/to/python3.12 install")'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "Python module venv is missing: on Debian or Ubuntu, apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip $(PIP) torch
	$(BIN)/pip $(PIP) --editable '.[train,dev]'
	$(BIN)/python -m compileall -q src/vaewatch $(wildcard src/vaewatch/*/)
	@touch $@

install: $(VENV)/installed

# What serves and scores, and nothing else: the tests prove that it needs no torch.
$(VENV)-floor/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-floor
	$(VENV)-floor/bin/pip $(PIP) --editable .
	@touch $@

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy docs/conf.py docs/_ext

# Strict: a warning or a reference that leads nowhere is an error. Offline: nothing is fetched.
docs: install
	$(BIN)/sphinx-build -W --keep-going -n -E -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Three files of tests at a time, a thread each, as tests wait as long as they work; then those
# marked `alone`, which load the machine. What they start must not compile the same modules anew.
test: export OMP_NUM_THREADS := 1
test test-long: export PYTHONDONTWRITEBYTECODE :=
test: install $(VENV)-floor/installed
	$(BIN)/pytest -m 'not long and not alone' --numprocesses 3 --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest -m 'alone and not long' $$(grep -rl 'mark\.alone' --include='test_*.py' tests)

test-long: install $(VENV)-floor/installed
	$(BIN)/pytest -m long

demo: install
	$(BIN)/python demo.py

clean:
	rm -rf $(VENV) $(VENV)-floor demo-output docs/_build
