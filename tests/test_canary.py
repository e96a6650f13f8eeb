"""Secrets that go in by every way that there is come out nowhere: all bytes on disk and on the console are searched."""

from __future__ import annotations

import os

import pytest

#: What is looked for afterwards. None of them is a word that anything else says.
CANARIES = (
    *("hunter2canary", "ghp_Zk3hT9pQ2xLmN8vB4cR7yW1sD6fG0jK5aE2u", "AKIAQ4CANARY7EXAMPLE", "canaryVariable99x"),
    *("canaryConfig77", "canaryMeta88y", "canaryHeader66z", "canaryArgument55", "canaryUrl44pw", "canaryError33q"),
)

STAGE = """
import logging, os, sys
from pathlib import Path
from opentelemetry import trace
from otel_stageio import StageIO, get_stage_logger

io = StageIO("asr", "job", stage_number=6, capture="root")
logger = io.get_stage_logger()
io.set_config({"model": "large-v2", "db": {"password": "canaryConfig77", "host": "h"}, "api_key": "canaryConfig77"})
io.add_config("aws_secret_access_key", "canaryConfig77")
source = Path("in.txt")
source.write_text("x")
io.track_input(source, "text", client_secret="canaryMeta88y", nested=[{"token": "canaryMeta88y"}])
io.track_input("https://user:canaryUrl44pw@host/a.wav?sig=canaryUrl44pw", "audio")
named = Path("ghp_Zk3hT9pQ2xLmN8vB4cR7yW1sD6fG0jK5aE2u.txt")
io.track_output(named, "never made")
logger.info("password=hunter2canary")
logger.info("key %s and %s", "AKIAQ4CANARY7EXAMPLE", os.environ["MY_API_TOKEN"])
logger.debug("Authorization: Bearer canaryHeader66z")
logger.warning("request", extra={"authorization": "Bearer canaryHeader66z", "cookie": "canaryHeader66z"})
logging.getLogger("library").addHandler(logging.NullHandler())  # else Python itself shows it
logging.getLogger("library").warning("postgres://u:canaryUrl44pw@db/x")
io.add_warning("token: ghp_Zk3hT9pQ2xLmN8vB4cR7yW1sD6fG0jK5aE2u")
try:
    raise ValueError("cannot log in with password=canaryError33q")
except ValueError as error:
    logger.exception("failed")
    io.add_error("failed", error)
    io.span.record_exception(error)
io.span.set_attribute("password", "canaryMeta88y")
io.span.add_event("login", {"headers.authorization": "Bearer canaryHeader66z"})
with trace.get_tracer("library").start_as_current_span("GET https://u:canaryUrl44pw@host/") as span:
    span.set_attribute("http.request.header.authorization", "Bearer canaryHeader66z")
with io.step("login", password="canaryArgument55"):
    pass
io.set_resources(secret="canaryMeta88y")
io.finalize("failed", reason="denied: password=canaryError33q", token="canaryMeta88y")
get_stage_logger("other").info("password=hunter2canary")
"""


@pytest.fixture
def left(run_script, tmp_path) -> bytes:
    """Run a stage that is given secrets by every way; give all that it left on disk and on the console."""
    made = run_script(
        STAGE,
        *("--password", "canaryArgument55", "--token=canaryArgument55", "https://u:canaryUrl44pw@host/"),
        env={"MY_API_TOKEN": "canaryVariable99x", "DATABASE_URL": "postgres://u:canaryUrl44pw@h/db"},
    )
    assert made.returncode == 0, made.stderr
    files = [path for path in (tmp_path / "job").rglob("*") if path.is_file()]
    assert len(files) > 8
    return b"\n".join([made.stdout.encode(), made.stderr.encode(), *(path.read_bytes() for path in files)])


def test_no_canary_is_anywhere(left):
    """No file of the job and nothing on the console has any of the secrets, as text or in hex."""
    forms = {canary: (canary.encode(), canary.encode().hex().encode()) for canary in CANARIES}
    found = [canary for canary, looks in forms.items() if any(look in left for look in looks)]
    assert found == []


def test_what_is_no_secret_is_readable(left):
    """What stands beside the secrets is there, and how many were hidden is in the manifest."""
    for text in (b"large-v2", b"cannot log in with", b"[REDACTED]", b"postgres://", b"denied"):
        assert text in left
    assert b'"redacted": 0,\n' not in left


def test_rights_of_the_files(run_script, tmp_path):
    """Files and folders get the rights that the umask leaves, and never wider ones."""
    source = """
        import os
        os.umask(0o077)
        from otel_stageio import StageIO
        io = StageIO("asr", "job", stage_number=6)
        io.get_stage_logger().info("hello")
        io.finalize()
    """
    assert run_script(source).returncode == 0
    for path in [tmp_path / "job", *(tmp_path / "job").rglob("*")]:
        assert os.stat(path).st_mode & 0o077 == 0, path
