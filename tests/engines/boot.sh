#!/bin/sh
# Starts a worker in the environment of the command. WORKER_PYTHON and WORKER_BOOT are exported by it.
PATH=$(dirname "$WORKER_PYTHON"):$PATH
RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
export PATH RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT
exec "$WORKER_BOOT" "$@" --semi_persist_dir="${TMPDIR:-/tmp}"
