# Two commands: `make demo` and `make test`. Everything else is listed by `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV ?= .venv
PYTHON ?= python3
CORES ?= all
CONFIG ?= config.yaml
TO ?= results/ratings
BIN := $(VENV)/bin
TORCH := 2.13.0
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check pin fetch run summary check-model check-published listening-test ratings compare demo-models docs clean-results

help:            ## list what make can do
	@awk -F ':.*## ' '/^[a-z-]+: *.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed fetch   ## install, fetch the demo's recordings and networks, run everything, print the tables
	@$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG)

run: $(VENV)/.installed          ## run the workflow on CONFIG=... without fetching anything
	@$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG)

test: $(VENV)/.installed-dev fetch check   ## all checks and all tests
	@$(BIN)/python -m spokeneval.demo.fetch --assets hifigan distillmos
	$(BIN)/pytest

check: $(VENV)/.installed-dev    ## linters, types and workflow lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/python tests/lint_snakemake.py

fetch: $(VENV)/.installed        ## bring the recordings, noises and networks that CONFIG=... names
	@$(BIN)/spokeneval fetch --config $(CONFIG)

pin: $(VENV)/.installed          ## write the newest commits beside the names on the hub in CONFIG=...
	@$(BIN)/spokeneval pin --config $(CONFIG)

summary: $(VENV)/.installed      ## print the tables of the last run again
	@$(BIN)/spokeneval summary --config $(CONFIG)

check-model: $(VENV)/.installed  ## check MODEL=... of CONFIG=... on five real clips: its contract, its convention, its speed
	@test -n "$(MODEL)" || { echo "error: name the model: make check-model CONFIG=... MODEL=<name>" >&2; exit 2; }
	@$(BIN)/spokeneval check-model --config $(CONFIG) --model "$(MODEL)"

check-published: $(VENV)/.installed   ## compare the evaluators with published verdicts in DATA=<folder>, item by item
	@test -n "$(DATA)" || { echo "error: name the folder: make check-published DATA=<folder>" >&2; exit 2; }
	@$(BIN)/spokeneval check-published "$(DATA)"

listening-test: $(VENV)/.installed   ## write the listening tests of CONFIG=... (or TEST=... alone) as folders for raters
	@targets=$$($(BIN)/spokeneval listening-test --config $(CONFIG) $(if $(TEST),--test "$(TEST)")) && \
	  $(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG) -- $$targets

ratings: $(VENV)/.installed      ## read the votes of STUDY=<study.yaml> into the folder TO=... (VOTES=<file> instead of the study's own)
	@test -n "$(STUDY)" || { echo "error: name the study: make ratings STUDY=<study.yaml>" >&2; exit 2; }
	@$(BIN)/spokeneval ratings --study "$(STUDY)" --to "$(TO)" $(if $(VOTES),--ratings "$(VOTES)")

compare: $(VENV)/.installed      ## compare the runs A=results/x B=results/y on the items that both have, into the folder TO=... (MODELS="a=b c=d", DATASET=..., FORCE=1)
	@test -n "$(A)" -a -n "$(B)" || { echo "error: name both runs: make compare A=results/x B=results/y" >&2; exit 2; }
	@$(BIN)/spokeneval compare "$(A)" "$(B)" --to "$(if $(filter file,$(origin TO)),results/compare,$(TO))" $(if $(DATASET),--dataset "$(DATASET)") $(if $(MODELS),--model "$(MODELS)") $(if $(filter-out 0 no,$(FORCE)),--force)

demo-models: $(VENV)/.installed fetch   ## train the demo's codebooks and models again and say by how much they differ
	$(BIN)/python -m spokeneval.demo.train

docs: $(VENV)/.installed-dev     ## generate the schema of config.yaml and the tables of the docs
	$(BIN)/spokeneval document

# torch first: the CPU build, from a local wheel where pip knows one, else from PyTorch's own index of CPU wheels
# (on Linux the default index brings several GB of CUDA).
$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch, sys; sys.exit(torch.__version__.split('+')[0] != '$(TORCH)')" 2>/dev/null \
	  || $(BIN)/pip install --quiet --no-deps --no-index torch==$(TORCH) 2>/dev/null \
	  || $(BIN)/pip install --no-deps torch==$(TORCH) --index-url $(TORCH_CPU_INDEX)
	$(BIN)/pip install --quiet --progress-bar off -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(BIN)/pip install --quiet --progress-bar off -r requirements-dev.txt
	@touch $@
