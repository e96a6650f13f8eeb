"""The job's id: given once, whoever asks, and never by a program that does not know the format."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone

import pytest

from otel_stageio.errors import JobFormatError
from otel_stageio.job import identity
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import files
from tests.processes import in_processes


@pytest.fixture
def job(tmp_path):
    """A job folder that is not there yet."""
    return JobLayout(tmp_path / "out")


def put(job: JobLayout, text: str) -> None:
    """Write job.json."""
    job.inner.mkdir(parents=True)
    job.job_json.write_text(text)


def test_id_is_given_once(job):
    """The first who asks gives the job its id, everybody after that gets it."""
    assert identity.read_job_id(job) is None
    first = identity.job_id(job)
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert identity.job_id(job) == identity.read_job_id(job) == first


def test_job_json(job):
    """job.json has the format's version, the id and the time of birth, which is UTC."""
    made = identity.job_id(job)
    document = json.loads(job.job_json.read_text())
    born = datetime.fromisoformat(document.pop("created_at").replace("Z", "+00:00"))
    assert document == {"format": "1.0", "job_id": made}
    assert abs((datetime.now(tz=timezone.utc) - born).total_seconds()) < 60


def test_many_processes_get_one_id(job):
    """Processes that ask at once get the same id."""
    assert len(set(in_processes(20, lambda _: identity.job_id(job)))) == 1


def test_somebody_was_faster(job, monkeypatch):
    """Where another process wrote job.json between look and claim, its id counts."""
    plain = files.claim_file

    def late(path, data):
        monkeypatch.setattr(files, "claim_file", plain)
        theirs = JobLayout(job.root)
        identity.job_id(theirs)
        return plain(path, data)

    monkeypatch.setattr(files, "claim_file", late)
    assert identity.job_id(job) == identity.read_job_id(job)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": "1.0"}', '{"job_id": "x"}', "\udc80"])
def test_job_json_that_says_nothing(job, text):
    """A job.json that is torn or foreign is no id, and is replaced when one is needed."""
    job.inner.mkdir(parents=True)
    job.job_json.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert identity.read_job_id(job) is None
    made = identity.job_id(job)
    assert identity.read_job_id(job) == made


@pytest.mark.parametrize("version", ["2.0", "10.1", "x", "", "1x"])
def test_newer_format(job, version):
    """A newer major version, or one that cannot be told, is refused, naming folder, versions and what to do."""
    put(job, json.dumps({"format": version, "job_id": "x"}))
    for ask in (identity.read_job_id, identity.job_id):
        with pytest.raises(JobFormatError) as raised:
            ask(job)
        for part in (str(job.root), f"format {version}", "up to 1.0", "pip install -U otel-stageio"):
            assert part in str(raised.value)


@pytest.mark.parametrize("version", ["1.0", "1.7", "1", "0.9"])
def test_known_format(job, version):
    """A newer minor version, and keys that are not known, are read."""
    put(job, json.dumps({"format": version, "job_id": "x", "future": {"key": 1}}))
    assert identity.job_id(job) == "x"


def test_resource_is_small():
    """The resource, which is on every line, says service, instance, job and run, and no more."""
    made = identity.resource(service="speech", instance="i", job="j", run=7)
    assert made.attributes == {
        "service.name": "speech",
        "service.instance.id": "i",
        "stageio.job.id": "j",
        "stageio.run": 7,
        "telemetry.sdk.name": "otel_stageio",
    }
    assert (identity.SCOPE.name, identity.SCOPE.version) == ("otel_stageio", "1.0")


def test_resource_says_what_surroundings_add():
    """Attributes of the surroundings come after ours, and may name the instance."""
    added = {"service.instance.id": "pod-7", "team": "speech"}
    made = identity.resource(service="speech", instance="i", job="j", run=7, attributes=added)
    assert list(made.attributes.items())[1] == ("service.instance.id", "pod-7")
    assert list(made.attributes.items())[5:] == [("team", "speech")]
