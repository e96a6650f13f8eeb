# Existing stages go on importing StageIO from here; it comes from otel-stageio now.  # noqa: D100
from otel_stageio import StageIO, get_stage_logger  # noqa: F401 - what they import
