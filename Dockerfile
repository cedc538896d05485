# syntax=docker/dockerfile:1
# Ocelli's images. The default target is the server alone.
#
#   podman build -t ocelli .                              the binary, glibc and CA certificates
#   podman build -t ocelli:engines --target engines .     ONNX Runtime and OpenVINO beside it
#   podman build -t ocelli-demo-models --target demo-models .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry/ocelli --push .
#
# Each image that this begins from can be another: --build-arg BASE=… . Static linking would save the base's 20 MB of
# glibc and certificates, and lose its resolver and its allocator, for which see docs/deploy.md.
ARG BUILDER=docker.io/library/rust:1.95-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot
ARG PYTHON=docker.io/library/python:3.12-slim-bookworm
ARG BUSYBOX=docker.io/library/busybox:1.37-musl
# An image with /out/ocelli, for who has built it already.
ARG BINARY=build

# Compiles on the machine's own architecture, for the target's.
FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
ARG TARGETARCH
WORKDIR /src
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN machine=$(dpkg --print-architecture); packages=(); \
    case "${TARGETARCH:-$machine}/$machine" in \
        amd64/*) packages=(nasm) ;; \
        arm64/arm64) ;; \
        arm64/*) packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross); rustup target add aarch64-unknown-linux-gnu ;; \
    esac; \
    if [ ${#packages[@]} != 0 ]; then \
        apt-get update && apt-get install -y --no-install-recommends "${packages[@]}" && rm -rf /var/lib/apt/lists/*; \
    fi
COPY . .
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_PROFILE_RELEASE_STRIP=symbols
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,id=ocelli-target-${TARGETARCH},sharing=locked \
    case "${TARGETARCH:-$(dpkg --print-architecture)}" in \
        amd64) target=x86_64-unknown-linux-gnu ;; \
        arm64) target=aarch64-unknown-linux-gnu ;; \
        *) echo "there is no recipe for ${TARGETARCH}" >&2; exit 1 ;; \
    esac; \
    cargo build --release --locked --bin ocelli --target "$target" && \
    install -D "target/$target/release/ocelli" /out/ocelli

# hadolint ignore=DL3006
FROM ${BINARY} AS binary

# The shared libraries out of the wheels of their own projects, without what this server never loads.
FROM --platform=$BUILDPLATFORM ${PYTHON} AS wheels
ARG TARGETARCH
ARG ONNXRUNTIME=1.32.0
ARG OPENVINO=2026.4.1
WORKDIR /wheels
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN case "${TARGETARCH:-amd64}" in arm64) machine=aarch64 ;; *) machine=x86_64 ;; esac; \
    platforms=(); for glibc in 2_17 2_27 2_28 2_31; do platforms+=(--platform "manylinux_${glibc}_$machine"); done; \
    pip download --no-cache-dir --no-deps --only-binary=:all: --python-version 3.12 --dest . "${platforms[@]}" \
        "onnxruntime==$ONNXRUNTIME" "openvino==$OPENVINO" && \
    for wheel in *.whl; do python3 -m zipfile -e "$wheel" unpacked; done; \
    mkdir -p /out/onnxruntime /out/openvino; \
    cp unpacked/onnxruntime/capi/libonnxruntime.so.* /out/onnxruntime/libonnxruntime.so; \
    cp unpacked/openvino/libs/lib{openvino,tbb,hwloc}* /out/openvino/; \
    rm -f /out/openvino/*_{intel_gpu,intel_npu}_plugin.so /out/openvino/*_{gguf,jax,paddle,pytorch,tensorflow}_frontend.so* \
        /out/openvino/libtbbmalloc_proxy*; \
    for name in openvino openvino_c; do file=$(basename /out/openvino/lib$name.so.*); ln -s "$file" "/out/openvino/lib$name.so"; done; \
    chmod -R a+rX /out

# Models to try it with: to be mounted as a volume, or copied by the chart's init container.
# hadolint ignore=DL3006
FROM ${BUSYBOX} AS demo-models
LABEL org.opencontainers.image.title="ocelli-demo-models" \
      org.opencontainers.image.description="EfficientNet-Lite0 in the layout of a model repository" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY models/efficientnet_lite0 /models/efficientnet_lite0
COPY models/README.md /models/
USER 65532:65532

# hadolint ignore=DL3006
FROM ${BASE} AS server
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="ocelli" \
      org.opencontainers.image.description="A stateless inference server for vision models: image bytes in, labels out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=binary --chown=0:0 --chmod=0755 /out/ocelli /usr/bin/ocelli
# Nothing is written but below --models (the traffic store, unless it is elsewhere): the root may be read-only.
ENV OCELLI_MODELS=/models \
    OCELLI_LOG_FORMAT=json
USER 65532:65532
EXPOSE 8500 8501
STOPSIGNAL SIGTERM
# For Docker and podman; the chart has probes of its own.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["/usr/bin/ocelli", "health"]
ENTRYPOINT ["/usr/bin/ocelli"]
CMD ["serve"]

FROM server AS engines
COPY --from=wheels --chown=0:0 /out /opt
ENV OCELLI_ONNXRUNTIME_LIBRARY=/opt/onnxruntime/libonnxruntime.so \
    OCELLI_OPENVINO_LIBRARY=/opt/openvino/libopenvino_c.so \
    LD_LIBRARY_PATH=/opt/openvino

# The last stage is what is built unless another is asked for.
FROM server
