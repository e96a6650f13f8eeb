#!/bin/sh
# All stages of one text, whose name is the item: one.sh TEXT
set -eu
stages=$(dirname "$0")/../stages
STAGEIO_ITEM=$(basename "$1" .txt)
export STAGEIO_ITEM

python3 "$stages/split.py" "$1"
python3 "$stages/count.py"
python3 "$stages/report.py"
