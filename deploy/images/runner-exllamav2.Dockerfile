# A runner with NVIDIA GPUs: ExLlamaV2 with its extension, flash-attn for continuous batching, torch, and diffusers for
# image models. The models are mounted: TIERMESH_RUNNER_MODEL_PATH.
#
# The two extensions are compiled here, for CUDA_ARCHITECTURES only (8.0 A100, 8.6 A10, 8.9 L4/L40S, 9.0 H100): flash-attn
# takes an hour of many cores and about 8 GB of memory for each of MAX_JOBS. No GPU is needed to build.
# Build it with any OCI builder from the root of a checkout: `make images BUILDER=podman IMAGES=runner-exllamav2`.
# A release pins the bases by their digests besides: --build-arg BUILD_IMAGE=…@sha256:… --build-arg RUN_IMAGE=…@sha256:…
ARG BUILD_IMAGE=docker.io/nvidia/cuda:13.0.2-devel-ubuntu24.04
ARG RUN_IMAGE=docker.io/nvidia/cuda:13.0.2-base-ubuntu24.04

FROM ${BUILD_IMAGE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ARG CUDA_ARCHITECTURES="8.0;8.6;8.9;9.0"
ARG MAX_JOBS=4
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 DEBIAN_FRONTEND=noninteractive
# hadolint ignore=DL3008 # Ubuntu keeps only the newest version of a package, so a pinned one cannot be built tomorrow.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ ninja-build python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements requirements
# What makes wheels stays here; what runs goes to an environment of its own, without pip. torch brings its CUDA libraries.
RUN python3 -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --only-binary :all: --requirement requirements/build.lock \
    && python3 -m venv --without-pip /opt/tiermesh \
    && /opt/tools/bin/pip --python /opt/tiermesh/bin/python install --require-hashes --only-binary :all: \
        --requirement requirements/runner-exllamav2.lock \
    && /opt/tools/bin/pip --python /opt/tiermesh/bin/python install --require-hashes --only-binary :all: --no-deps \
        --requirement requirements/exllamav2.lock
ENV CUDA_HOME=/usr/local/cuda TORCH_CUDA_ARCH_LIST=${CUDA_ARCHITECTURES} FLASH_ATTN_CUDA_ARCHS=80;90 MAX_JOBS=${MAX_JOBS}
# The wheel is made with the very torch that it will run with.
RUN FLASH_ATTENTION_FORCE_BUILD=TRUE /opt/tools/bin/pip --python /opt/tiermesh/bin/python install --require-hashes --no-deps --no-build-isolation \
        --requirement requirements/flash-attn.lock
# ExLlamaV2 compiles its extension at the first import unless a module of that name is there: so it is made here.
RUN CPATH="$(echo /opt/tiermesh/lib/python3*/site-packages/nvidia/cu13/include)" TORCH_EXTENSIONS_DIR=/extensions \
        /opt/tiermesh/bin/python -c "import exllamav2" \
    && cp /extensions/exllamav2_ext/exllamav2_ext.so /opt/tiermesh/lib/python3*/site-packages/ \
    && rm -rf /extensions \
    && /opt/tiermesh/bin/python -c "import torch, exllamav2_ext, flash_attn_2_cuda"
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY services services
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/tools/bin/pip --python /opt/tiermesh/bin/python install --no-deps /wheels/*.whl

FROM ${RUN_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tiermesh runner (ExLlamaV2)" \
      org.opencontainers.image.description="A tiermesh runner with ExLlamaV2 and diffusers on NVIDIA GPUs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3008 # As above.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libstdc++6 python3 \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 /cache
COPY --from=build /opt/tiermesh /opt/tiermesh
# The root file system can be read-only: /tmp and /cache (compiled kernels of the driver) are written.
ENV PATH=/opt/tiermesh/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 \
    CUDA_CACHE_PATH=/cache/cuda TRITON_CACHE_DIR=/cache/triton \
    TIERMESH_RUNNER_ENGINE=exllamav2 TIERMESH_RUNNER_CACHE_DIR=/cache \
    TIERMESH_RUNNER_LISTEN=0.0.0.0:7104 TIERMESH_RUNNER_ADMIN_LISTEN=0.0.0.0:9090
WORKDIR /tmp
USER 10001:10001
VOLUME ["/cache"]
EXPOSE 7104 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=900s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/healthz', timeout=3)"]
STOPSIGNAL SIGTERM
# Ubuntu's base image has an entry point that prints a licence; this replaces it.
ENTRYPOINT ["python", "-m"]
CMD ["services.runner"]
