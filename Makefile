# Every recipe is a line that you could type; VENV and PYTHON can be set: make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# twice quiet: of warnings too, which some package indexes cause for every package; errors are shown
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint requirements.lock

.PHONY: help setup demo test lint docs report unlock clean

help:
	@echo "make demo     install, then run the pipeline on the embedded scene and show its scores"
	@echo "make test     install, then run all tests"
	@echo "make setup    install into $(VENV)"
	@echo "make lint     check style, spelling, types and prose"
	@echo "make docs     build the documentation as a site, in site/"
	@echo "make report   write the report again"
	@echo "make unlock   after Snakemake was killed: remove its lock"
	@echo "make clean    remove everything that the pipeline made; data/raw stays"

setup: $(VENV)/.demo

# A failure ends make by SIGPIPE: make then adds no "Error 1" of its own, and the reason stays the last line.
demo: $(VENV)/.demo
	@$(BIN)/snakemake --cores all || { kill -PIPE $$PPID; exit 1; }
	@$(BIN)/hsisr table

test: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/python .ci/prose

# material's notice about mkdocs 2, which is not what is installed, is not ours to repeat
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

report: $(VENV)/.demo
	$(BIN)/snakemake results/report/index.html --cores all --forcerun report

unlock: $(VENV)/.demo
	$(BIN)/snakemake --unlock

clean:
	rm -rf data/scenes data/splits data/pairs data/patches runs results logs

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hsisr needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version): make demo PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# one stamp for each set of dependencies, newer than what defines it
$(VENV)/.%: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "installing hsisr with its $* dependencies into $(VENV)"
	@$(PIP) --editable ".[$*]"
	@touch $@ $(if $(filter dev,$*),$(VENV)/.test) # dev holds what tests need
