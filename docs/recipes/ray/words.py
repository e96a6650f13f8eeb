"""The words of many texts on a Ray cluster: words.py JOB TEXT..."""

import os
import sys
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import ray

from otel_stageio import StageIO


@ray.remote(scheduling_strategy="SPREAD")
def split(text):
    """The first stage of a text; gives the item's name on."""
    with StageIO("split", item=Path(text).stem) as io:
        io.track_input(text, "text")
        words = Path(text).read_text(encoding="utf-8").lower().split()
        io.track_output(io.save_json(words, "words.json"), "words", words=len(words))
        io.add_config("ray.node", ray.get_runtime_context().get_node_id())
        return io.item


@ray.remote(scheduling_strategy="SPREAD")
def count(item):
    """The second stage, perhaps on another node; its argument is what Ray waits for."""
    with StageIO("count", item=item) as io:
        source = io.get_input_path("words.json", "split")
        io.track_input(source, "words")
        counts = Counter(io.load_json(source))
        io.track_output(io.save_json(counts, "counts.json"), "counts", different=len(counts))
        io.add_config("ray.node", ray.get_runtime_context().get_node_id())
        io.get_stage_logger().info("%d different words", len(counts))


if __name__ == "__main__":
    job, *texts = map(os.path.abspath, sys.argv[1:])
    shared = {
        "STAGEIO_JOB_DIR": job,
        "STAGEIO_RUN": f"ray {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "STAGEIO_STAGES": "split count",
        "OTEL_SERVICE_NAME": "words",
    }
    ray.init(runtime_env={"env_vars": shared})
    ray.get([count.remote(split.remote(text)) for text in texts])
