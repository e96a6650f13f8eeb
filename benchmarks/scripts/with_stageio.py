"""A stage that does nothing but say so; the job folder is the argument."""

import sys

from otel_stageio import StageIO

io = StageIO("asr", sys.argv[1], stage_number=6)
logger = io.get_stage_logger()
logger.info("nothing to do for %s", "ep042")
io.finalize("success")
