"""The last stage: the words that are there most often, as a table."""

from otel_stageio import StageIO

with StageIO("report") as io:
    source = io.get_input_path("counts.json", "count")
    io.track_input(source, "counts")
    counts = io.load_json(source)
    with io.open_output("report.txt", "w", type="report") as file:
        for word in sorted(counts, key=lambda word: (-counts[word], word))[:10]:
            file.write(f"{counts[word]:6} {word}\n")
    io.get_stage_logger().info("The most frequent of %d words", len(counts))
