#!/bin/sh
# The words of a text: pipeline.sh TEXT [JOB]
set -eu
stages=$(dirname "$0")/../stages
export STAGEIO_JOB_DIR="${2:-${STAGEIO_JOB_DIR:-out}}"
export STAGEIO_RUN="${STAGEIO_RUN:-$(date -u +%Y-%m-%dT%H:%M:%SZ) $$}"

python3 "$stages/split.py" "$1"
for stage in count report; do
    python3 "$stages/$stage.py"
done
