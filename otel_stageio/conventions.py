"""Every name that a record of ours carries: those of OpenTelemetry's semantic conventions (1.44), then ``stageio.*``.

docs/conventions.md lists them with type, unit and an example; a test holds the two together.
"""

from __future__ import annotations

import logging
from typing import Final

#: Version of the journal's format; written as the scope's version. Readers refuse a newer major.
FORMAT: Final = "1.0"
SCOPE: Final = "otel_stageio"

# Standard names.
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
TELEMETRY_SDK_NAME: Final = "telemetry.sdk.name"
LOG_RECORD_UID: Final = "log.record.uid"
CODE_FILE_PATH: Final = "code.file.path"
CODE_LINE_NUMBER: Final = "code.line.number"
CODE_FUNCTION_NAME: Final = "code.function.name"
THREAD_NAME: Final = "thread.name"
ERROR_TYPE: Final = "error.type"
LOG_IOSTREAM: Final = "log.iostream"
OTEL_EVENT_NAME: Final = "otel.event.name"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
EXCEPTION_ESCAPED: Final = "exception.escaped"
FILE_PATH: Final = "file.path"
FILE_SIZE: Final = "file.size"
FILE_MODIFIED: Final = "file.modified"
HOST_NAME: Final = "host.name"
HOST_ARCH: Final = "host.arch"
OS_TYPE: Final = "os.type"
OS_VERSION: Final = "os.version"
PROCESS_PID: Final = "process.pid"
PROCESS_PARENT_PID: Final = "process.parent_pid"
PROCESS_COMMAND_ARGS: Final = "process.command_args"
PROCESS_EXECUTABLE_PATH: Final = "process.executable.path"
PROCESS_WORKING_DIRECTORY: Final = "process.working_directory"
PROCESS_OWNER: Final = "process.owner"
PROCESS_EXIT_CODE: Final = "process.exit.code"
PROCESS_RUNTIME_NAME: Final = "process.runtime.name"
PROCESS_RUNTIME_VERSION: Final = "process.runtime.version"
VCS_REVISION: Final = "vcs.ref.head.revision"
VCS_BRANCH: Final = "vcs.ref.head.name"

#: What the names below begin with.
OWN: Final = "stageio."

# Who and where.
JOB_ID: Final = "stageio.job.id"
JOB_STAGES: Final = "stageio.job.stages"
RUN: Final = "stageio.run"
RUN_NAME: Final = "stageio.run.name"
RUN_SPAN_ID: Final = "stageio.run.span_id"
RUN_TRACE_ID: Final = "stageio.run.trace_id"
RUN_BEGAN: Final = "stageio.run.began"
RUN_HOST: Final = "stageio.run.host"
RUN_LOG: Final = "stageio.run.log"
PARENT_SPAN_ID: Final = "stageio.parent.span_id"
PARENT_REMOTE: Final = "stageio.parent.remote"
TRACE_STATE: Final = "stageio.trace_state"
TRACES_BY_HOST: Final = "stageio.traces.by_host"
STAGE_NAME: Final = "stageio.stage.name"
STAGE_NUMBER: Final = "stageio.stage.number"
STAGE_ITEM: Final = "stageio.stage.item"
STAGE_ATTEMPT: Final = "stageio.stage.attempt"
MEMBER: Final = "stageio.member"
RANK: Final = "stageio.rank"
MEMBER_FINISHED: Final = "stageio.member.finished"
STAGE_MANIFEST: Final = "stageio.stage.manifest"
STATUS: Final = "stageio.status"
REASON: Final = "stageio.reason"
GIT_DIRTY: Final = "stageio.git.dirty"
BOOT_ID: Final = "stageio.host.boot_id"
UTC_OFFSET: Final = "stageio.host.utc_offset"

#: The logger, of the standard library or of OpenTelemetry's Logs API, of a record that is not the stage's own.
LOGGER: Final = "stageio.logger"
#: That a log record came by ``capture="root"``: in stage.log its logger stands before the message.
CAPTURED: Final = "stageio.captured"
#: The step that a log record was made in, nested ones joined with slashes.
STEP: Final = "stageio.step"

# Events.
STARTED: Final = "stageio.stage.started"
FINISHED: Final = "stageio.stage.finished"
INPUT: Final = "stageio.input"
OUTPUT: Final = "stageio.output"
INTERMEDIATE: Final = "stageio.intermediate"
DIGEST: Final = "stageio.artifact.digest"
CONFIG: Final = "stageio.config"
METRIC: Final = "stageio.metric"
RESOURCES: Final = "stageio.resources"
WARNING: Final = "stageio.warning"
ERROR: Final = "stageio.error"
GIT: Final = "stageio.git"
DEGRADED: Final = "stageio.degraded"
STEP_STARTED: Final = "stageio.step.started"
STEP_FINISHED: Final = "stageio.step.finished"
# What the stage's span was told by OpenTelemetry's API.
SPAN_ATTRIBUTES: Final = "stageio.span.attributes"
SPAN_EVENT: Final = "stageio.span.event"
SPAN_LINK: Final = "stageio.span.link"
SPAN_STATUS: Final = "stageio.span.status"
SPAN_NAME: Final = "stageio.span.name"

# What the events carry.
LATE: Final = "stageio.late"
ARTIFACT_ROLE: Final = "stageio.artifact.role"
ARTIFACT_TYPE: Final = "stageio.artifact.type"
ARTIFACT_KIND: Final = "stageio.artifact.kind"
ARTIFACT_FILES: Final = "stageio.artifact.files"
ARTIFACT_CHECKSUM: Final = "stageio.artifact.checksum"
ARTIFACT_CHECKSUM_METHOD: Final = "stageio.artifact.checksum.method"
ARTIFACT_CHECKSUM_PROBLEM: Final = "stageio.artifact.checksum.problem"
ARTIFACT_FILE_ID: Final = "stageio.artifact.file_id"
ARTIFACT_CHECKSUM_REUSED: Final = "stageio.artifact.checksum.reused"
ARTIFACT_STAT_PRINT: Final = "stageio.artifact.stat_print"
ARTIFACT_PATH_BYTES: Final = "stageio.artifact.path_bytes"
ARTIFACT_RETAINED: Final = "stageio.artifact.retained"
ARTIFACT_REASON: Final = "stageio.artifact.reason"
ARTIFACT_METADATA: Final = "stageio.artifact.metadata."
CONFIG_KEY: Final = "stageio.config."
RESOURCE_KEY: Final = "stageio.resource."
EXTRA_KEY: Final = "stageio.extra."
METRIC_NAME: Final = "stageio.metric.name"
METRIC_VALUE: Final = "stageio.metric.value"
METRIC_UNIT: Final = "stageio.metric.unit"
CUT: Final = "stageio.cut"
REDACTED_COUNT: Final = "stageio.redacted.count"
PRODUCER_STAGE: Final = "stageio.producer.stage.name"
PRODUCER_NUMBER: Final = "stageio.producer.stage.number"
PRODUCER_ITEM: Final = "stageio.producer.stage.item"
PRODUCER_ATTEMPT: Final = "stageio.producer.stage.attempt"
PRODUCER_TRACE_ID: Final = "stageio.producer.trace_id"
PRODUCER_SPAN_ID: Final = "stageio.producer.span_id"
STEP_DURATION: Final = "stageio.step.duration"
STEP_ATTRIBUTE: Final = "stageio.step.attribute."
SPAN_ATTRIBUTE: Final = "stageio.span.attribute."
SPAN_EVENT_NAME: Final = "stageio.span.event.name"
SPAN_EVENT_TIME: Final = "stageio.span.event.time"
SPAN_DROPPED_ATTRIBUTES: Final = "stageio.span.dropped_attributes"
SPAN_STATUS_CODE: Final = "stageio.span.status.code"
SPAN_STATUS_MESSAGE: Final = "stageio.span.status.message"
SPAN_NAME_VALUE: Final = "stageio.span.name.value"
LINK_TRACE_ID: Final = "stageio.link.trace_id"
LINK_SPAN_ID: Final = "stageio.link.span_id"
LINK_REMOTE: Final = "stageio.link.remote"

# What only the stage's span carries.
METRIC_KEY: Final = "stageio.metric."
TOTAL_COUNT: Final = "stageio.{role}s.count"
TOTAL_SIZE: Final = "stageio.{role}s.size"
WARNINGS_COUNT: Final = "stageio.warnings.count"
ERRORS_COUNT: Final = "stageio.errors.count"
LOGS_COUNT: Final = "stageio.logs.{level}.count"
EVENTS_LEFT_OUT: Final = "stageio.events.left_out"

#: What only marks carry: spans of a microsecond that show in a backend how a stage stands, and are in no file.
MARK: Final = "stageio.mark"

#: The name that a log record has as an event of the span, which is where Jaeger shows it.
LOG_EVENT: Final = "log"

# Statuses.
RUNNING: Final = "running"
SUCCESS: Final = "success"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
ABANDONED: Final = "abandoned"
LOST: Final = "lost"
#: What finalize takes.
FINAL_STATUSES: Final = (SUCCESS, FAILED, SKIPPED)

ROLES: Final = ("input", "output", "intermediate")

# Severities of the OpenTelemetry log data model that stdlib levels map to.
SEVERITY_DEBUG: Final = 5
SEVERITY_INFO: Final = 9
SEVERITY_WARN: Final = 13
SEVERITY_ERROR: Final = 17
SEVERITY_FATAL: Final = 21


def severity(level: int) -> int:
    """The OpenTelemetry severity number of a stdlib level: DEBUG is 5, INFO 9, and a level between lies between."""
    if level < logging.DEBUG:
        return 1
    tens, ones = divmod(min(level, logging.CRITICAL), 10)
    return SEVERITY_DEBUG + (tens - 1) * 4 + min(ones // 3, 3)
