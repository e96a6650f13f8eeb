"""A stage that lasts two seconds, so that delivery has begun when it ends; the job folder is the argument."""

import sys
import time

from otel_stageio import StageIO

io = StageIO("asr", sys.argv[1], stage_number=6)
logger = io.get_stage_logger()
logger.info("two seconds of work on %s", "ep042")
time.sleep(2)
io.finalize("success")
