# Two images: `serve` (the default: service and batch scoring, no torch) and `train` (all of it).
#   docker build -t vaewatch .
#   docker build -t vaewatch:train --target train .
#   docker build -t vaewatch:cloud --build-arg EXTRAS=cloud .     serve, which also reads and writes object stores
#   docker build -t vaewatch:postgres --build-arg EXTRAS=postgres .     serve, whose replicas share incidents and feedback
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# The tools stay in this stage: the images get their packages and neither pip nor a build backend.
RUN python3 -m venv /tools \
 && /tools/bin/pip install -c constraints.txt hatchling \
 && python3 -m venv --without-pip /opt/vaewatch \
 && python3 -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*p['dependencies'], sep='\n', file=open('serve.txt', 'w')); \
[print(*p['optional-dependencies'][name], sep='\n', file=open(name + '.txt', 'w')) for name in p['optional-dependencies']]"

# Dependencies change seldom and our code often, so each has a layer of its own.
FROM tools AS serve-packages
# Names of extras that not every service needs: cloud, otel, png, postgres, ray, redis.
ARG EXTRAS=
# Tests go, and compiled code that nothing here needs: zstandard's for PyPy, and SQLAlchemy's, which is
# there in Python, too: the service asks its store a few times a second.
RUN /tools/bin/pip --python /opt/vaewatch/bin/python install -c constraints.txt -r serve.txt \
    $(for extra in ${EXTRAS}; do echo "-r ${extra}.txt"; done) \
 && find /opt/vaewatch -type d \( -name tests -o -path '*/sqlalchemy/testing' \) -prune -exec rm -r {} + \
 && find /opt/vaewatch \( -path '*/zstandard/_cffi*.so' -o -path '*/sqlalchemy/*_cy.*.so' \) -delete

FROM tools AS wheel
COPY README.md LICENSE CHANGELOG.md ./
COPY src src
COPY scoring scoring
COPY training training
COPY batch batch
COPY service service
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel .

FROM serve-packages AS train-packages
# The index that torch comes from, where it is not pip's own: PyTorch has one for each CUDA version
# and one without. From pip's own index, torch for Linux brings the CUDA libraries along.
ARG TORCH_INDEX=
RUN /tools/bin/pip --python /opt/vaewatch/bin/python install -c constraints.txt \
    ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} torch \
 && /tools/bin/pip --python /opt/vaewatch/bin/python install -c constraints.txt -r train.txt

FROM serve-packages AS serve-installed
COPY --from=wheel /wheel /wheel
RUN /tools/bin/pip --python /opt/vaewatch/bin/python install --no-deps /wheel/*.whl

FROM train-packages AS train-installed
COPY --from=wheel /wheel /wheel
RUN /tools/bin/pip --python /opt/vaewatch/bin/python install --no-deps /wheel/*.whl

FROM ${BASE_IMAGE} AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="vaewatch" \
      org.opencontainers.image.description="Anomaly detection for tabular records with an alarm budget that holds" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# Any user id works: nothing in the image is written to, and HOME need not exist.
ENV PATH=/opt/vaewatch/bin:${PATH} HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["vaewatch"]

FROM base AS train
COPY --from=train-installed /opt/vaewatch /opt/vaewatch
CMD ["train", "--help"]

FROM base AS serve
COPY deploy/healthcheck.py /opt/healthcheck.py
COPY --from=serve-installed /opt/vaewatch /opt/vaewatch
ENV VAEWATCH_HOST=0.0.0.0 VAEWATCH_PORT=8000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python3", "/opt/healthcheck.py"]
# Mount the artifact at /artifact. Beyond loopback the service needs a key: VAEWATCH_KEY_FILE, --keys-file, or --insecure.
CMD ["serve", "/artifact"]
