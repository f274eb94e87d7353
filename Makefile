PYTHON ?= python3
UV ?= uv
VENV ?= .venv

BIN := $(VENV)/bin
# The generator needs an older protobuf than the services run on, so it has its own environment.
PROTO_VENV := $(VENV)-proto
# vLLM pins half the world, a CPU build of torch among it, so it has its own environment too.
VLLM_VENV := $(VENV)-vllm
# The reference that Foresight is held to, with the libraries that it needs.
PARITY_VENV := $(VENV)-parity
INSTALL := -m pip --disable-pip-version-check --no-input install --quiet --no-deps
PY_DIRS := services clients tests tools $(wildcard bench)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

##@ Use

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.stamp-services ## Score candidates in a builtin world: no GPU, API key or Redis needed
	$(BIN)/foresight demo

##@ Develop

.PHONY: setup
setup: $(VENV)/.stamp-dev $(PROTO_VENV)/.stamp $(VLLM_VENV)/.stamp ## Install everything that the targets below need

.PHONY: test
test: $(VENV)/.stamp-dev ## Run all tests (choose some with ARGS="-m 'not packaging'")
	$(BIN)/python -m pytest $(ARGS)
	$(if $(ARGS),,$(MAKE) test-vllm)

.PHONY: test-vllm
test-vllm: $(VLLM_VENV)/.stamp ## Run the tests on a real vLLM (Linux on x86-64)
	$(VLLM_VENV)/bin/python -m pytest tests/vllm $(ARGS)

.PHONY: lint
lint: style type imports proto-check ## Run every static check

.PHONY: style
style: $(VENV)/.stamp-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: type
type: $(VENV)/.stamp-dev ## Check types
	$(BIN)/python -m mypy $(PY_DIRS)

.PHONY: imports
imports: $(VENV)/.stamp-dev
	$(BIN)/lint-imports

.PHONY: proto-check
proto-check: $(PROTO_VENV)/.stamp
	$(PROTO_VENV)/bin/python tools/proto.py lint
	$(PROTO_VENV)/bin/python tools/proto.py breaking
	$(PROTO_VENV)/bin/python tools/proto.py check

.PHONY: fmt
fmt: $(VENV)/.stamp-dev ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: proto
proto: $(PROTO_VENV)/.stamp ## Generate the Python stubs from proto/
	$(PROTO_VENV)/bin/python tools/proto.py generate

.PHONY: parity
parity: $(VENV)/.stamp-dev $(PARITY_VENV)/.stamp ## Prove that prompts, scores and MR are CollabLLM's
	$(BIN)/python -m bench.parity --reference $(PARITY_VENV)

.PHONY: bench
bench: bench-side-by-side ## Measure what is to be reached, beside the reference (15 minutes)

.PHONY: bench-side-by-side
bench-side-by-side: $(VENV)/.stamp-dev $(PARITY_VENV)/.stamp
	$(BIN)/python -m bench.side_by_side --reference $(PARITY_VENV)

.PHONY: bench-parts
bench-parts: $(VENV)/.stamp-dev ## Measure each part by itself (40 minutes)
	$(BIN)/python -m bench.throughput
	$(BIN)/python -m bench.call_cpu --out bench/results/call_cpu.json
	$(BIN)/python -m bench.call_cpu --redis --out bench/results/call_cpu_redis.json
	$(BIN)/python -m bench.client_cpu
	$(BIN)/python -m bench.decorator_cpu
	$(BIN)/python -m bench.metrics
	$(BIN)/python -m bench.cache
	$(BIN)/python -m bench.cached_rewards
	$(BIN)/python -m bench.asked_again
	$(BIN)/python -m bench.workers
	$(BIN)/python -m bench.admission --json bench/results/admission.json
	$(BIN)/python -m bench.anytime
	$(BIN)/python -m bench.adaptive
	$(BIN)/python -m bench.sizing

.PHONY: bench-prefix
bench-prefix: $(VLLM_VENV)/.stamp ## Measure prefix-cache hits on a real vLLM (Linux on x86-64)
	$(VLLM_VENV)/bin/python -m bench.prefix_cache

##@ Release

.PHONY: build
build: $(VENV)/.stamp-services ## Build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

# Each lock is resolved for every platform at once and holds hashes only, never an index address.
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-emit-index-url --no-emit-find-links \
	--custom-compile-command 'make lock' --upgrade

# vLLM's kernels are built for one platform.
LOCK_VLLM = $(subst --universal,--python-platform x86_64-manylinux_2_28,$(LOCK))

.PHONY: lock
lock: ## Resolve requirements/*.lock anew (needs uv)
	$(LOCK) pyproject.toml --extra services requirements/build.in -o requirements/services.lock
	$(LOCK) pyproject.toml --extra services --extra metrics --extra redis requirements/build.in requirements/dev.in \
		-c requirements/services.lock -o requirements/dev.lock
	$(LOCK) requirements/proto.in -o requirements/proto.lock
	$(LOCK_VLLM) pyproject.toml --extra services requirements/build.in requirements/vllm.in \
		--overrides requirements/vllm-overrides.txt --no-emit-package torch \
		-o requirements/vllm.lock
	$(LOCK) requirements/parity.in -o requirements/parity.lock
	$(LOCK) --no-deps requirements/parity-reference.in -o requirements/parity-reference.lock
	$(LOCK) pyproject.toml -o requirements/client-newest.lock
	$(LOCK) pyproject.toml --resolution lowest-direct -o requirements/client-oldest.lock

.PHONY: clean
clean: ## Remove environments, builds and caches
	rm -rf $(VENV) $(PROTO_VENV) $(VLLM_VENV) $(PARITY_VENV) dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
		.ruff_cache

define create-venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"Foresight needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
$(PYTHON) -m venv $(@D)
endef

$(VENV)/.stamp-services: requirements/services.lock pyproject.toml
	$(create-venv)
	$(BIN)/python $(INSTALL) --require-hashes -r $<
	$(BIN)/python $(INSTALL) --no-build-isolation --editable .
	@touch $@

# Depends on the other stamp because two pips must not write to one environment at a time.
$(VENV)/.stamp-dev: requirements/dev.lock $(VENV)/.stamp-services
	$(BIN)/python $(INSTALL) --require-hashes -r $<
	@touch $@

$(PROTO_VENV)/.stamp: requirements/proto.lock
	$(create-venv)
	$(PROTO_VENV)/bin/python $(INSTALL) --require-hashes -r $<
	@touch $@

# Nothing of it resolves anything: a resolver would add what breaks CPU torch. Most of it is never
# imported, so it is compiled when it is.
$(VLLM_VENV)/.stamp: requirements/vllm.lock requirements/vllm-torch.txt tests/vllm/shim/pyproject.toml \
		pyproject.toml
	$(create-venv)
	$(VLLM_VENV)/bin/python $(INSTALL) --no-compile -r requirements/vllm-torch.txt
	$(VLLM_VENV)/bin/python $(INSTALL) --no-compile --require-hashes -r $<
	$(VLLM_VENV)/bin/python $(INSTALL) --no-build-isolation ./tests/vllm/shim
	$(VLLM_VENV)/bin/python $(INSTALL) --no-build-isolation --editable .
	@touch $@

# torch comes first, from where pip alone may find it; the reference is installed without what it
# names.
$(PARITY_VENV)/.stamp: requirements/parity-reference.lock requirements/parity.lock \
		requirements/parity-torch.txt
	$(create-venv)
	$(PARITY_VENV)/bin/python $(INSTALL) -r requirements/parity-torch.txt
	$(PARITY_VENV)/bin/python $(INSTALL) --require-hashes -r requirements/parity.lock \
		-r requirements/parity-reference.lock
	@touch $@
