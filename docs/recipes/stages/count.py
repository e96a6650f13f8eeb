"""The second stage: how often each word is there."""

from collections import Counter

from otel_stageio import StageIO

with StageIO("count") as io:
    source = io.get_input_path("words.json", "split")
    io.track_input(source, "words")
    counts = Counter(io.load_json(source))
    io.track_output(io.save_json(counts, "counts.json"), "counts", different=len(counts))
    io.get_stage_logger().info("%d different words", len(counts))
