"""The first stage: a text becomes a list of words."""

import sys
from pathlib import Path

from otel_stageio import StageIO

with StageIO("split") as io:
    source = Path(sys.argv[1])
    io.track_input(source, "text")
    words = source.read_text(encoding="utf-8").lower().split()
    io.track_output(io.save_json(words, "words.json"), "words", words=len(words))
    io.get_stage_logger().info("%s has %d words", source.name, len(words))
