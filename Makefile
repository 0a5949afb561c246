# make serve, make test: each sets up everything it needs. See README.md and CONTRIBUTING.md.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TORCH_CPU := https://download.pytorch.org/whl/cpu
LOCAL := deployments/local.yaml
URL := http://127.0.0.1:8000/v1

.PHONY: setup serve test check format lock table router results

setup: $(INSTALLED)

# Every package is pinned in constraints/cpu.txt, so nothing is resolved here (--no-deps).
$(INSTALLED): pyproject.toml constraints/cpu.txt constraints/pinned.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'pointsman needs Python 3.11 or newer: make PYTHON=python3.12 ...'; exit 1; }
	@echo 'Setting up .venv: about 1 GB to download, once'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --no-deps --retries 1 --extra-index-url $(TORCH_CPU) 'torch==2.13.0+cpu'
	$(BIN)/pip install --no-deps --require-hashes -r constraints/pinned.txt
	$(BIN)/pip install --no-deps -r constraints/cpu.txt
	$(BIN)/pip install --no-deps --no-build-isolation -e .
	@touch $@

serve: setup
	$(BIN)/serve run $(LOCAL)

test: setup
	$(BIN)/pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The shipped routing table and router: ask the experts of a running `make serve`, then learn.
table: setup
	$(BIN)/pointsman prepare --prompts deployments/local/prompts.jsonl --experts $(LOCAL) --url $(URL) --out deployments/local/table

router: setup
	$(BIN)/pointsman train --table deployments/local/table --experts $(LOCAL) --out deployments/local/router

results: setup
	$(BIN)/pointsman evaluate --table deployments/local/table --experts $(LOCAL)

# Where the CPU wheels of torch are on no index that uv knows, UV_FIND_LINKS names a folder of them.
lock: setup
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate \
	  --index-strategy unsafe-best-match --extra-index-url $(TORCH_CPU) --no-emit-index-url \
	  --override constraints/overrides.txt pyproject.toml --extra cpu --extra offline --extra dev -o constraints/cpu.txt
	$(BIN)/uv pip compile --no-deps --generate-hashes --no-header --no-annotate constraints/pinned.in -o constraints/pinned.txt
