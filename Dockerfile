# The images of the processes. One runs the server, the workers of runs and `lockstitch db upgrade`; the other brings,
# beside all that, the packages that run code, read documents and search by meaning.
#
#   docker build --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" --target lockstitch --tag lockstitch:0.1.0 .
#   docker build --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" --target lockstitch-code --tag lockstitch-code:0.1.0 .
#
# Another base, such as a mirror of the same image or one with its digest (name:tag@sha256:...), has to have the same
# Python in the same place for all stages.
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm


# The wheel of the project. Its build tools stay in this stage.
FROM ${PYTHON_IMAGE} AS wheel
RUN pip install --no-cache-dir setuptools==84.2.1
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .


# The virtual environments. Dependencies first: that layer changes only with its requirements.
FROM ${PYTHON_IMAGE} AS environment
RUN python -m venv --without-pip /opt/lockstitch
COPY requirements-image.txt /requirements.txt
RUN pip --python /opt/lockstitch install --no-cache-dir --require-hashes --requirement /requirements.txt
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/lockstitch install --no-cache-dir --no-deps /wheel/*.whl


FROM ${PYTHON_IMAGE} AS environment-code
RUN python -m venv --without-pip /opt/lockstitch
COPY requirements-extras.txt /requirements.txt
RUN pip --python /opt/lockstitch install --no-cache-dir --require-hashes --requirement /requirements.txt
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/lockstitch install --no-cache-dir --no-deps /wheel/*.whl


FROM ${PYTHON_IMAGE} AS runtime

# Given by their numbers, because Kubernetes can tell only of a number that it is not root. The base has its standard
# library without bytecode, and nothing is compiled at run time, for the root file system may be read-only.
RUN groupadd --gid 10001 lockstitch \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lockstitch \
    && install --directory --owner 10001 --group 10001 /data \
    && python -m compileall -q -j 0 -x 'lib2to3|idlelib|site-packages' "$(python -c 'import os; print(os.path.dirname(os.__file__))')"

# Logs reach the collector line by line. Loopback, the default elsewhere, could not be reached from outside of the
# container.
ENV PATH=/opt/lockstitch/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LOCKSTITCH_DATABASE_URL=sqlite:////data/lockstitch.db \
    LOCKSTITCH_HOST=0.0.0.0 \
    LOCKSTITCH_METRICS_HOST=0.0.0.0 \
    LOCKSTITCH_LOG_FORMAT=json

ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="lockstitch" \
      org.opencontainers.image.description="Durable assistant runs on Temporal, with an embedded Assistants API server." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

WORKDIR /data
USER 10001:10001

# 8700: the server. 9464: health and metrics of the worker.
EXPOSE 8700 9464

# No HEALTHCHECK: Kubernetes ignores it and probes /healthz and /readyz itself, and one image serves two processes
# that answer on different ports.
ENTRYPOINT ["lockstitch"]
CMD ["serve"]


FROM runtime AS lockstitch-code
COPY --from=environment-code /opt/lockstitch /opt/lockstitch


# The last one, so the one that is built where no target is named.
FROM runtime AS lockstitch
COPY --from=environment /opt/lockstitch /opt/lockstitch
