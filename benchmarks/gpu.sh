#!/usr/bin/env bash
# All that a GPU changes, checked and measured on a machine that has one; needs torch, torchvision, timm, pyarrow,
# fsspec, pydantic and click, but neither ray nor faiss. Images come from CURATOR_TEST_DATA, else from the demo's.
# Prints the device's name with the figures; exit 1 if a check fails. `benchmarks/gpu.sh --dry-run` needs no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=.:pipelines:ssl
"${PYTHON:-python3}" -m benchmarks.gpu "$@"
