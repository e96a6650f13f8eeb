"""Training on several ranks, each with its share of the data: torchrun --nproc-per-node 4 train.py JOB."""

import os
import sys

from otel_stageio import StageIO

rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

with StageIO("04_train", sys.argv[1]) as io:
    logger = io.get_stage_logger()
    logger.info("Rank %d of %d", rank, world)
    for epoch in range(2):
        with io.step("epoch", number=epoch, rank=rank):
            loss = sum(1 / (1 + sample) for sample in range(rank, 1000, world)) / (1 + epoch)
            logger.debug("Epoch %d: %.3f", epoch, loss)
    io.track_output(io.save_json({"loss": loss}, f"shard-{rank}.json"), "shard", rank=rank)
