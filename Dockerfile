# One image to train and serve, on a GPU or a CPU, and a small one that only serves, on a CPU:
#
#     docker build --tag lesion .
#     docker build --tag lesion-serve-cpu --target serve-cpu .
#
# What the image runs lies in three folders of /opt/lesion, a layer each, what changes least first: new code is built
# and pushed in seconds. docs/image.md says what is in, what was left out, and why that is safe.

FROM debian:bookworm-slim AS pip
RUN apt-get update && apt-get install --no-install-recommends --yes binutils g++ python3-pip
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1

# Debian with its security fixes, which may be younger than the base image, and without the certificates of proxies that
# the building machine had put into its base. The runtime starts from nothing and gets what debian.py names.
FROM debian:bookworm-slim AS debian
RUN apt-get update && apt-get upgrade --yes \
    && apt-get install --no-install-recommends --yes ca-certificates python3 \
    && rm -rf /usr/local/share/ca-certificates/* \
    && update-ca-certificates --fresh
COPY container/debian.py /build/
RUN python3 /build/debian.py /image
FROM scratch AS python
COPY --from=debian /image /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    # The one place that is sure to be writable: libraries keep their caches and settings there.
    HOME=/tmp

# Debian's setuptools is too old for pyproject.toml.
FROM pip AS code
COPY container/requirements-libraries.txt /build/
RUN grep --after-context=2 '^setuptools==' /build/requirements-libraries.txt > /build/setuptools.txt \
    && pip install --no-compile --no-deps --require-hashes --target /build/setuptools -r /build/setuptools.txt
COPY pyproject.toml README.md /build/
COPY src /build/src
RUN PYTHONPATH=/build/setuptools pip install --no-deps --no-build-isolation --compile --target /opt/lesion/code /build \
    && rm -r /opt/lesion/code/bin

FROM pip AS serve-cpu-libraries
COPY container/requirements-serve-cpu.txt /build/
RUN pip install --no-deps --require-hashes --target /opt/lesion/serve-cpu -r /build/requirements-serve-cpu.txt
COPY container/slim.py /build/
RUN python3 /build/slim.py /opt/lesion/serve-cpu

FROM python AS serve-cpu
ENV PYTHONPATH=/opt/lesion/code:/opt/lesion/serve-cpu
COPY --from=serve-cpu-libraries /opt/lesion/serve-cpu /opt/lesion/serve-cpu
COPY container/entrypoint container/lesion container/serve /usr/local/bin/
COPY container/sbom.py /usr/local/share/lesion/
COPY --from=code /opt/lesion/code /opt/lesion/code
ENTRYPOINT ["entrypoint"]
CMD ["serve"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Lesion, serving on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true

FROM pip AS torch
COPY container/requirements-torch.txt /build/
RUN pip install --no-compile --no-deps --require-hashes --target /opt/lesion/torch -r /build/requirements-torch.txt
# Recurrent networks on the GPU. What shows that nothing else needs it must run on a GPU, so it stays unless told.
ARG CUDNN_ADV=keep
RUN [ "$CUDNN_ADV" = keep ] || rm /opt/lesion/torch/nvidia/cudnn/lib/libcudnn_adv.so.9
COPY container/slim.py container/stub_libraries.py /build/
RUN python3 /build/slim.py /opt/lesion/torch && python3 /build/stub_libraries.py /opt/lesion/torch

FROM pip AS libraries
COPY container/requirements-libraries.txt /build/
RUN pip install --no-compile --no-deps --require-hashes --target /opt/lesion/libraries -r /build/requirements-libraries.txt
COPY container/slim.py container/stub_libraries.py /build/
RUN python3 /build/slim.py /opt/lesion/libraries && python3 /build/stub_libraries.py /opt/lesion/libraries

FROM python AS lesion
ENV PYTHONPATH=/opt/lesion/code:/opt/lesion/libraries:/opt/lesion/torch \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    # Importing albumentations asks the package index for its newest version otherwise, while the image is built too.
    NO_ALBUMENTATIONS_UPDATE=1
COPY --from=torch /opt/lesion/torch /opt/lesion/torch
COPY --from=libraries /opt/lesion/libraries /opt/lesion/libraries
COPY container/sbom.py container/compile_bytecode.py /usr/local/share/lesion/
RUN PYTHONDONTWRITEBYTECODE= python3 /usr/local/share/lesion/compile_bytecode.py && rm -rf /tmp/.cache /tmp/.config
COPY container/entrypoint container/lesion container/serve container/train /usr/local/bin/
COPY --from=code /opt/lesion/code /opt/lesion/code
ENTRYPOINT ["entrypoint"]
CMD ["train"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Lesion" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true
