# make serve, make test: each sets up everything it needs. See README.md and CONTRIBUTING.md.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TORCH_CPU := https://download.pytorch.org/whl/cpu
LOCAL := deployments/local.yaml
URL := http://127.0.0.1:8000/v1

# Real routing tables, for `make evaluation` alone.
POINTSMAN_DATA ?= ../shared/data
POOLS := llmrouter_9 rational_cascades_9 zeroeval routerbench_subset mmlu_pro
# Of mmlu_pro: a name inferred, answers not parsed, an expert measured on 86 % of the prompts.
WITHOUT := gemini-3.1-pro deepseek-chat-v2-0520 DeepSeek-Coder-V2
PAPERS := kmeans learned_map knn knn:plain=true to_knn to_knn:score_scale=1 mlp mlp:score_scale=1 ridge task_map zero
SEEDS ?= 5
UNSEEN ?= default kmeans kmeans:full kmeans:probes=0 learned_map learned_map:full learned_map:probes=0 stack stack:full task_map knn:plain=true zero

.PHONY: setup serve test load fuzz soak overload nodes simulate check format lock dashboards table router demo results evaluation papers unseen encoders cascades manifests image-cpu image-gpu

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

# Files two at a time, then the real application by itself. What is broken ends early and says so.
test: setup
	@failed=0; \
	$(BIN)/pytest --ignore tests/e2e -n 2 --dist loadfile --session-timeout 1500 || failed=1; \
	$(BIN)/pytest tests/e2e --maxfail 8 --session-timeout 2400 || failed=1; exit $$failed

# Locust users at the application that runs, or at one of its own, and a verdict: under 5 minutes.
load: setup
	$(BIN)/python -m loadtest.load $(LOAD)

# The HTTP surface against its own OpenAPI document, 2,000 cases: about 8 minutes on two cores.
fuzz: setup
	POINTSMAN_FUZZ_CASES=2000 $(BIN)/pytest tests/e2e/test_fuzz.py

# Faults and overload of applications of their own: about 15 and 6 minutes.
soak: setup
	$(BIN)/python -m loadtest.soak

overload: setup
	$(BIN)/python -m loadtest.overload

# A cluster of three nodes on this machine: one dies under load, then the GCS. About 6 minutes.
nodes: setup
	$(BIN)/python -m loadtest.nodes

# Replicas by our scaling policy and by Ray Serve's default, simulated: about 4 minutes on one core.
simulate: setup
	$(BIN)/python -m loadtest.simulate

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

# From prompts to a judged router on the local experts: about 10 minutes on two cores. Killed, it goes on where it was.
demo: setup
	$(BIN)/pointsman prepare --prompts deployments/local/prompts.jsonl --limit 60 --experts $(LOCAL) --out results/demo/table
	$(BIN)/pointsman train --table results/demo/table --experts $(LOCAL) --out results/demo/router
	$(BIN)/pointsman evaluate --table results/demo/table --router default --router kmeans --router zero --curve --out results/demo

results: setup
	$(BIN)/pointsman score --table deployments/local/table --experts $(LOCAL)

# After a change of serve/dashboards.
dashboards: setup
	$(BIN)/pointsman dashboards write deployments/grafana

# k8s/README.md. The manifests' serveConfigV2 and the PrometheusRule from deployments/, and the images (needs docker).
IMAGE ?= pointsman:0.1.0
manifests: setup
	$(BIN)/python -m k8s.serve_config
	$(BIN)/python -m k8s.prometheus_rule

image-cpu:
	docker build --build-arg TORCH_CPU=$(TORCH_CPU) -f k8s/images/Dockerfile.cpu -t $(IMAGE)-cpu .

image-gpu:
	docker build -f k8s/images/Dockerfile.gpu -t $(IMAGE)-gpu .

# The figures of the README on the real tables: hours on two cores, most of them once, to read the prompts.
EVALUATE = $(BIN)/pointsman evaluate $(1:%=--table $(POINTSMAN_DATA)/%) $(2:%=--router %) \
  $(if $(filter mmlu_pro,$(1)),$(WITHOUT:%=--without %))

evaluation: setup
	$(call EVALUATE,$(POOLS) routellm,default stack zero) --seeds 20 --out results/default

papers: setup
	$(call EVALUATE,$(POOLS),default $(PAPERS)) --seeds 5 --out results/papers

encoders: setup
	for reading in default first-layer middle-layer last-layer words; do \
	  $(call EVALUATE,$(filter-out mmlu_pro,$(POOLS)),default zero) --seeds 5 --encoder $$reading --out results/$$reading || exit; done

# Half a minute. A cascade by each expert's logged confidence, beside random mixing.
PAIRS := llama3.1-8b,llama3.1-405b gpt-4o-mini,gpt-4o llama3.2-3b,llama3.1-70b llama3.2-1b,llama3.1-70b
SHARE ?= 0.3
cascades: setup
	$(BIN)/pointsman calibrate --table $(POINTSMAN_DATA)/rational_cascades_9 $(PAIRS:%=--tiers %) --cells confidence --share $(SHARE)

# Of routellm's two experts none can be held out.
unseen: setup
	$(call EVALUATE,$(POOLS),$(UNSEEN)) --protocol unseen-experts --seeds $(SEEDS) --out results/unseen

# Where the CPU wheels of torch are on no index that uv knows, UV_FIND_LINKS names a folder of them.
lock: setup
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate \
	  --index-strategy unsafe-best-match --extra-index-url $(TORCH_CPU) --no-emit-index-url \
	  --override constraints/overrides.txt pyproject.toml --extra cpu --extra offline --extra dashboards --extra load --extra tracing --extra dev -o constraints/cpu.txt
	$(BIN)/uv pip compile --no-deps --generate-hashes --no-header --no-annotate constraints/pinned.in -o constraints/pinned.txt
