# The control services, the edge and the console, the migrations and the `tiermesh` command: `services.edge`,
# `services.console`, `services.console.operators`, `services.auth`, `services.billing`, `services.router`, with the drivers of PostgreSQL and Redis and without any engine.
#
# Build it with any OCI builder from the root of a checkout: `make images BUILDER=podman IMAGES=control`.
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
        --requirement requirements/control.lock
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY services services
RUN /opt/tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/tools/bin/pip --python /opt/tiermesh/bin/python install --no-deps /wheels/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tiermesh control" \
      org.opencontainers.image.description="Edge, console, auth, billing and router of tiermesh, and its command line" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/tiermesh /opt/tiermesh
# The base has no bytecode of the standard library, and nothing is written when it runs: each process would compile it.
RUN python -m compileall -q -x site-packages "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# Nothing is written anywhere but to a database: the root file system can be read-only.
ENV PATH=/opt/tiermesh/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TIERMESH_EDGE_LISTEN=0.0.0.0:8000 TIERMESH_EDGE_ADMIN_LISTEN=0.0.0.0:9090 \
    TIERMESH_CONSOLE_LISTEN=0.0.0.0:8001 TIERMESH_CONSOLE_ADMIN_LISTEN=0.0.0.0:9090 \
    TIERMESH_OPERATOR_CONSOLE_LISTEN=0.0.0.0:8002 TIERMESH_OPERATOR_CONSOLE_ADMIN_LISTEN=0.0.0.0:9090 \
    TIERMESH_AUTH_LISTEN=0.0.0.0:7101 TIERMESH_AUTH_ADMIN_LISTEN=0.0.0.0:9090 \
    TIERMESH_BILLING_LISTEN=0.0.0.0:7102 TIERMESH_BILLING_ADMIN_LISTEN=0.0.0.0:9090 \
    TIERMESH_ROUTER_LISTEN=0.0.0.0:7103 TIERMESH_ROUTER_ADMIN_LISTEN=0.0.0.0:9090 \
    TIERMESH_PAYMENTS_LISTEN=0.0.0.0:7105 TIERMESH_PAYMENTS_ADMIN_LISTEN=0.0.0.0:9090
WORKDIR /tmp
USER 10001:10001
EXPOSE 8000 8001 8002 7101 7102 7103 7105 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9090/healthz', timeout=3)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m"]
CMD ["services.edge"]
