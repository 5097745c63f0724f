# syntax=docker/dockerfile:1
# cofio with its model and its compiled kernels, for a root file system that nothing is written to (docs/deployment.md).
#
#   docker build -t cofio .
#   docker build -t cofio:gpu --build-arg ONNXRUNTIME=onnxruntime-gpu --build-arg BASE=… .

# Both stages have the same Python at the same place, since the virtual environment refers to it.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# The build of onnxruntime for CPUs takes 50 MB, that for GPUs 340, and CUDA's libraries come from the base image.
ARG ONNXRUNTIME=onnxruntime
# What the kernels are compiled for: processors with AVX2 (x86-64 since 2013). `generic` runs on every one, and is the
# one to name on ARM. Were it left to Numba, kernels would be for the machine that builds, and compiled again elsewhere.
ARG KERNEL_CPU=x86-64-v3
WORKDIR /src

# Dependencies first: they change less often than what is ours.
COPY pyproject.toml config/constraints.txt ./
RUN python -m venv /opt/cofio/venv && \
    python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > dependencies.txt && \
    sed -i "s/^onnxruntime-gpu/${ONNXRUNTIME}/" dependencies.txt && \
    /opt/cofio/venv/bin/pip install --no-cache-dir --constraint constraints.txt --requirement dependencies.txt

COPY . .
RUN /opt/cofio/venv/bin/pip install --no-cache-dir --no-deps . && \
    /opt/cofio/venv/bin/python scripts/setup_model.py --model-dir /opt/cofio/models

# The quick evaluation takes the sample meetings in and asks them through every kernel.
RUN NUMBA_CACHE_DIR=/opt/cofio/kernels NUMBA_CPU_NAME="${KERNEL_CPU}" NUMBA_CPU_FEATURES="" \
    /opt/cofio/venv/bin/cofio eval --quick --data data --model-dir /opt/cofio/models --cache /tmp/evaluation && \
    install -m 755 config/image/start /opt/cofio/start && \
    install -m 644 config/production.toml /opt/cofio/production.toml

# What only measuring (`cofio eval`, `cofio bench`) and building need stays behind: 190 MB.
RUN /opt/cofio/venv/bin/pip uninstall --yes igraph ir-measures onnx pytrec-eval-terrier scipy setuptools pip

FROM ${BASE}
ARG KERNEL_CPU=x86-64-v3
RUN useradd --system --uid 10001 --user-group --home-dir /tmp --no-create-home cofio && \
    install -d -o cofio -g cofio -m 700 /var/lib/cofio /var/backups/cofio
COPY --from=build /opt/cofio /opt/cofio
ENV PATH=/opt/cofio/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/tmp/kernels \
    NUMBA_CPU_NAME=${KERNEL_CPU} \
    NUMBA_CPU_FEATURES="" \
    COFIO_CONFIG=/opt/cofio/production.toml
USER 10001:10001
WORKDIR /var/lib/cofio
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"COFIO_PORT\", 8000)}/health/ready', timeout=4)"]
ENTRYPOINT ["/opt/cofio/start"]
CMD ["serve"]
