# The image of workers on Dataflow, Flink and Spark (docs/dataflow.md).
#
#   docker build --tag IMAGE .                                CPU
#   docker build --tag IMAGE --build-arg TORCH_BACKEND=auto . CUDA
#
# The versions of Beam and Python must be those of the machine that submits the job.
FROM apache/beam_python3.11_sdk:2.77.0

# `cpu`, or `auto` for the wheels of PyPI, which bring the libraries of CUDA.
ARG TORCH_BACKEND=cpu
ARG EXTRAS=gcs,encoders

# Dataflow mounts the driver of the GPU here.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video

WORKDIR /opt/mmfeat
COPY constraints.txt constraints-build.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement constraints-build.txt
RUN if [ "$TORCH_BACKEND" != auto ]; then \
        uv pip install --system --no-cache --torch-backend "$TORCH_BACKEND" --no-deps \
            --no-verify-hashes --constraint constraints.txt torch torchvision; \
    fi
COPY pyproject.toml setup.py README.md LICENSE ./
COPY mmfeat mmfeat
COPY pipelines pipelines
COPY training training
RUN uv pip install --system --no-cache --compile-bytecode --constraint constraints.txt \
        --build-constraint constraints-build.txt ".[$EXTRAS]"
RUN python -c "import pipelines.transforms, mmfeat.extraction.stage, torch"
