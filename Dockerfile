# Bode's image: the environment is built in one stage, and only that and Python go into the other.
FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/bode
WORKDIR /build
COPY requirements/run.txt requirements/build.txt requirements/
RUN /opt/bode/bin/pip install --require-hashes -r requirements/run.txt && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY worker worker
COPY adapters adapters
COPY ops/bode_ops ops/bode_ops
RUN /opt/build/bin/hatchling build --target wheel && /opt/bode/bin/pip install --no-deps --no-index dist/*.whl

FROM python:3.13-slim-bookworm
# The volumes that Bode writes to take over the owner of these folders.
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bode \
    && install --directory --owner=10001 --group=10001 --mode=0700 \
        /var/lib/bode/keys /var/lib/bode/evidence-keys /var/lib/bode/evidence /var/lib/bode/journal
COPY --from=build /opt/bode /opt/bode
ENV PATH=/opt/bode/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 BODE_CONFIG=/etc/bode/bode.toml
WORKDIR /var/lib/bode
USER 10001:10001
# SIGTERM ends it in order; a container is given longer than [engine] grace_seconds.
ENTRYPOINT ["bode"]
CMD ["run"]
