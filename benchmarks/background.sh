#!/usr/bin/env bash
# Starts the training of the photo encoder in the background, or resumes it from its last checkpoint:
#
#     benchmarks/background.sh IMAGES RUN [--field value ...]
#
# IMAGES is the folder that benchmarks/photos_data.py makes, RUN the run folder, outside the repository. It prints the
# process's id and returns; the log is RUN.log. `kill ID` stops after a step, with a checkpoint; `kill -STOP ID` and
# `kill -CONT ID` pause it. Any other field than --epochs must be the same each time.
# PYTHON is the interpreter (.venv/bin/python by default), CORE the only core it may use (any by default).
set -euo pipefail

if (($# < 2)); then
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
images=$(realpath "$1") run=$(realpath "$2")
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command=(nice "${PYTHON:-.venv/bin/python}" -m cpchub train simclr_photos --images "$images/tiny-imagenet-cifar10" --out "$run" "$@")
[[ -z ${CORE:-} ]] || command=(taskset -c "$CORE" "${command[@]}")
OMP_NUM_THREADS=1 nohup setsid "${command[@]}" </dev/null >>"$run.log" 2>&1 &
echo $!
