# make demo   shows what Copyhound does, on pictures that it brings along
# make test   runs every check of the house, as CI does
# make clean  removes the environment and all caches
#
# Both set up .venv first, which takes a minute or two once and no time afterwards.

PYTHON ?= python3
VENV := .venv

# By environment, so that the build of the package itself is pinned too; newer versions of pip ask for the
# second name.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
PIP := $(VENV)/bin/python -m pip --quiet --no-input --disable-pip-version-check
# pip compiles what it installs with one process. Some files that packages bring are no valid Python.
COMPILE := $(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true

.DELETE_ON_ERROR:
.PHONY: demo test clean

demo: $(VENV)/.demo
	$(VENV)/bin/copyhound demo

test: $(VENV)/.dev
	$(VENV)/bin/nox

clean:
	rm -rf $(VENV) .nox .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	rm -rf build dist demo .browser
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@echo "Setting up $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing Copyhound into $(VENV): about 1.2 GB"
	$(PIP) install --no-compile --editable '.[media]'
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing Copyhound and its checks into $(VENV): up to 7 GB, nearly all of it PyTorch"
	$(PIP) install --no-compile --editable '.[dev]'
	@$(COMPILE)
	@touch $(VENV)/.demo $@
