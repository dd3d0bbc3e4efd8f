# syntax=docker/dockerfile:1
# One image for the API, the workers, the clock, manage.py and the signer; compose.yaml says who is what.
#   docker build --build-arg DEPLOY_SHA=$(git rev-parse --short=12 HEAD) --tag patchproof .
# The packages are those of the lock, by hash; PYTHON_IMAGE can name the base by digest.
ARG PYTHON_IMAGE=python:3.11.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS packages
# Ready-made packages exist for x86_64; elsewhere one is compiled, here and not in the image that runs.
RUN [ "$(uname -m)" = x86_64 ] || { apt-get update && apt-get install --yes --no-install-recommends \
    autoconf automake build-essential libtool pkg-config; }
RUN python -m venv /opt/patchproof/.venv
COPY requirements/production.txt /tmp/production.txt
RUN /opt/patchproof/.venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
    --no-deps --require-hashes --requirement /tmp/production.txt \
    && /opt/patchproof/.venv/bin/python -m pip check

FROM ${PYTHON_IMAGE}
# Users of their own, as on a host: the signer's files are none of the service's.
RUN useradd --system --uid 10001 --no-create-home --home-dir / --shell /usr/sbin/nologin patchproof \
    && useradd --system --uid 10002 --no-create-home --home-dir / --shell /usr/sbin/nologin patchproof-signer \
    && install -d -m 700 -o patchproof-signer -g patchproof-signer /var/lib/patchproof-signer
WORKDIR /opt/patchproof
COPY --from=packages /opt/patchproof/.venv .venv
COPY app app
COPY deploy/gunicorn.conf.py deploy/gunicorn.conf.py
# The service hands them out, at /docs/md.
COPY docs/api docs/api
COPY migrations migrations
COPY signer signer
COPY tasks tasks
COPY LICENSE manage.py wsgi.py ./
RUN .venv/bin/python -m compileall -q app migrations signer tasks manage.py wsgi.py
ARG DEPLOY_SHA=unknown
ENV DEPLOY_SHA=${DEPLOY_SHA} \
    PATH=/opt/patchproof/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WEB_BIND=0.0.0.0:3001
USER patchproof
EXPOSE 3001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3001/health', timeout=5)"]
CMD ["python", "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "wsgi:app"]
