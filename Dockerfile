# Two images from one file: `runtime`, which runs handlers and which a handler's own image is built FROM, and `operator`.
# A base image must bring Python 3.11 or newer with venv; what else is needed is added only where it is missing.
# pip's settings and a private certificate authority come from the build (a mounted /etc/pip.conf and /etc/ssl/certs, or
# build secrets of the same paths); nothing of them stays in the images.
ARG BASE_IMAGE=python:3.12-slim-bookworm

# --- base: Python and tini, which as PID 1 passes signals on and reaps what a handler leaves behind. Any numeric user may
# run the images: none has an entry in passwd, so its name comes from LOGNAME.
FROM ${BASE_IMAGE} AS base
RUN command -v tini >/dev/null || { \
      apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/*; }
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    LOGNAME=nonroot
WORKDIR /opt

# --- requirements: each image's dependencies as a file of their own, so that other edits keep the layers below
FROM base AS requirements
COPY pyproject.toml ./
RUN for half in runtime operator; do \
      python3 -c "import sys, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies'][sys.argv[1]], sep='\n')" \
        "$half" > "$half.txt" || exit 1; \
    done

# --- build: pip outside of what is shipped; the project on its own, so that a change of it replaces one small layer
FROM base AS build
COPY constraints.txt ./
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/venv \
    && /opt/build/bin/pip install --no-cache-dir --constraint constraints.txt hatchling \
    && python -c "import sysconfig; open(sysconfig.get_path('purelib') + '/project.pth', 'w').write('/opt/project')"

FROM build AS project
COPY pyproject.toml README.md LICENSE ./
COPY consumer_runtime ./consumer_runtime
COPY operator ./operator
RUN /opt/build/bin/pip install --no-cache-dir --no-deps --no-build-isolation --target /opt/project .

# --- runtime: what consumer pods run. It keeps a pip of its own, for the images of handlers that need more packages.
FROM build AS runtime-packages
COPY --from=requirements /opt/runtime.txt ./
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --constraint constraints.txt --requirement runtime.txt pip

FROM base AS runtime
COPY --from=runtime-packages /opt/venv /opt/venv
COPY --from=project /opt/project /opt/project
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "consumer_runtime", "run"]

# --- operator
FROM build AS operator-packages
COPY --from=requirements /opt/operator.txt ./
RUN /opt/build/bin/pip --python /opt/venv/bin/python install --no-cache-dir --constraint constraints.txt --requirement operator.txt

FROM base AS operator
COPY --from=operator-packages /opt/venv /opt/venv
COPY --from=project /opt/project /opt/project
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "parallel_consumer_operator", "run"]
