"""The words of a text on a Ray cluster: words.py TEXT JOB."""

import os
import sys
from collections import Counter
from datetime import datetime, timezone

import ray

from otel_stageio import StageIO

TEXT, JOB = (os.path.abspath(path) for path in sys.argv[1:])


@ray.remote(scheduling_strategy="SPREAD")
def split():
    """The first stage, on one node."""
    with StageIO("split") as io:
        io.track_input(TEXT, "text")
        with open(TEXT, encoding="utf-8") as file:
            words = file.read().lower().split()
        io.track_output(io.save_json(words, "words.json"), "words", words=len(words))
        io.add_config("ray.node", ray.get_runtime_context().get_node_id())


@ray.remote(scheduling_strategy="SPREAD")
def count(_after):
    """The second stage, mostly on another; the argument is what it waits for."""
    with StageIO("count") as io:
        source = io.get_input_path("words.json", "split")
        io.track_input(source, "words")
        counts = Counter(io.load_json(source))
        io.track_output(io.save_json(counts, "counts.json"), "counts", different=len(counts))
        io.add_config("ray.node", ray.get_runtime_context().get_node_id())
        io.get_stage_logger().info("%d different words", len(counts))


if __name__ == "__main__":
    shared = {
        "STAGEIO_JOB_DIR": JOB,
        "STAGEIO_RUN": f"ray {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "STAGEIO_STAGES": "split count",
        "OTEL_SERVICE_NAME": "words",
    }
    ray.init(runtime_env={"env_vars": shared})
    ray.get(count.remote(split.remote()))
