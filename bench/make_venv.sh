#!/bin/sh
# Makes the virtual environment, of the Python that the build is for, with what bench_loop.py compares with.
set -eu
cd "$(dirname "$0")/.."
sh scripts/build.sh configure
exec sh scripts/venv.sh venv-bench bench/requirements.txt
