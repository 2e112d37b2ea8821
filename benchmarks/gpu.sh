#!/usr/bin/env bash
# All that a GPU changes, checked and measured on a machine that has one; needs torch, torchvision, timm, pyarrow,
# fsspec, but neither ray nor faiss. Prints the device's name with the figures; exit 1 if a check fails.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=.:pipelines:ssl
python3 -m benchmarks.gpu
