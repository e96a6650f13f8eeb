#!/bin/sh
# Many texts in one job, four at a time: many.sh JOB TEXT...
set -eu
export STAGEIO_JOB_DIR="$1"
export STAGEIO_RUN="${STAGEIO_RUN:-$(date -u +%Y-%m-%dT%H:%M:%SZ) $$}"
shift
printf '%s\0' "$@" | xargs -0 -n 1 -P 4 sh "$(dirname "$0")/one.sh"
