# Two commands: `make run` cleans the five samples, `make test` checks everything. Both make their own virtual environment
# on a machine that has Python 3.11 with venv; the second time they find it there.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT := data/clean-seeds
REQUIREMENTS := constraints.txt pyproject.toml

.PHONY: run test lint docs constraints

run: $(VENV)/.installed
	$(BIN)/qingyuan clean 'seeds/*.txt' --out $(OUT)

# In two processes, file by file: tests of one share datasets and servers. The longest are at the beginning.
test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The site of docs/, which opens from disk: build/site/index.html.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

$(VENV)/.installed: $(REQUIREMENTS)
	$(call make_venv)
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable .
	touch $@

# Not compiled: of the thousands of files of moto, botocore and mypy few are ever imported.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --group dev --group docs
	touch $@

# pip first: `--group` needs one that is younger than Python 3.11. setuptools since it builds this project.
define make_venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "qingyuan needs Python 3.11 or newer, and $(PYTHON) is older. Try: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --upgrade pip setuptools
endef

# A new set of versions, from an environment made for it.
constraints:
	$(PYTHON) -m venv --clear build/constraints
	build/constraints/bin/python -m pip install --quiet --upgrade pip setuptools
	build/constraints/bin/python -m pip install --quiet --editable '.[dask,ray]' --group dev --group docs
	sed -n '/^#/p' constraints.txt > build/constraints.txt
	build/constraints/bin/python -m pip freeze --all --exclude-editable >> build/constraints.txt
	mv build/constraints.txt constraints.txt
