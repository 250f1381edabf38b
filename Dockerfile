# The server of camhd_access, run by an unprivileged user.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
RUN python -m venv /opt/camhd
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# s3fs pins botocore to a narrow range: installing it first saves pip many minutes of searching.
RUN /opt/camhd/bin/pip install "s3fs>=2026.2"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY camhd_access camhd_access
RUN /opt/camhd/bin/pip install ".[server,s3]"

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --no-create-home camhd \
    && install --directory --owner=camhd /var/cache/camhd /srv/image_store \
    && install --directory /srv/overlay
COPY --from=build /opt/camhd /opt/camhd
# All interfaces are those of the container; the host decides who can reach them.
ENV PATH=/opt/camhd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp \
    CAMHD_BIND=0.0.0.0 \
    CAMHD_PORT=8080 \
    CAMHD_METRICS_BIND=0.0.0.0 \
    CAMHD_CACHE_DIR=/var/cache/camhd
USER camhd
VOLUME ["/var/cache/camhd", "/srv/image_store"]
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['CAMHD_PORT']), timeout=4); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["camhd", "serve"]
