# Flotilla's image: one for web, worker, watcher and migrations; the command says which.
# Pin the base by digest for reproducible builds: --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS requirements
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY requirements/run.txt /tmp/run.txt
# Wheels only: no compiler is needed, and nothing runs a package's own build script.
RUN /venv/bin/pip install --require-hashes --only-binary :all: -r /tmp/run.txt \
 && /venv/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON_IMAGE} AS static
COPY --from=requirements /venv /venv
WORKDIR /app
COPY manage.py ./
COPY controlplane controlplane
COPY apps apps
COPY kubevalues kubevalues
COPY frontend frontend
# Hashes and compresses each file once, so that no process does it while serving.
RUN FLOTILLA_STATIC_ROOT=/static /venv/bin/python manage.py collectstatic --noinput --verbosity 0

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Flotilla" \
      org.opencontainers.image.description="One control plane for a fleet of ML clusters"
# A number, so that Kubernetes can check runAsNonRoot. The code belongs to root: the process can't change it.
RUN groupadd --gid 10001 flotilla \
 && useradd --uid 10001 --gid flotilla --no-create-home --home-dir /tmp --shell /usr/sbin/nologin flotilla \
 && install --directory --owner flotilla --group flotilla --mode 0750 /data /data/artifacts
COPY --from=requirements /venv /venv
WORKDIR /app
COPY manage.py ./
COPY controlplane controlplane
COPY apps apps
COPY kubevalues kubevalues
COPY frontend frontend
COPY --from=static /static /app/staticfiles
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=controlplane.settings \
    FLOTILLA_ENV=production \
    FLOTILLA_DATA_DIR=/data \
    FLOTILLA_STATIC_ROOT=/app/staticfiles \
    WEB_CONCURRENCY=2
# Bytecode now, because nothing can be written later on a read-only root.
RUN python -m compileall -q /app/manage.py /app/controlplane /app/apps /app/kubevalues
USER 10001:10001
VOLUME /data
EXPOSE 8000
# For the web process; the compose file gives the others their own. Django wants a host name that it knows.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
  CMD ["python", "/app/controlplane/healthcheck.py", "web"]
# uvicorn starts WEB_CONCURRENCY processes on one socket, and starts again who dies.
CMD ["uvicorn", "controlplane.asgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "20", \
     "--timeout-worker-healthcheck", "30"]
