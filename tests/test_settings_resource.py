"""OTEL_RESOURCE_ATTRIBUTES: what of it is on every line of the journal."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import OTELResourceDetector

from otel_stageio import StageIO, settings
from otel_stageio.journal import reader

NAME = "OTEL_RESOURCE_ATTRIBUTES"
MALFORMED = (
    f"{NAME} is not written as key=value,key=value with commas and signs percent-encoded; "
    "no attribute is taken from it."
)


def load(tmp_path, text):
    """What these attributes become, and the problems with them."""
    loaded = settings.load(environ={NAME: text}, main_file=None, cwd=str(tmp_path))
    return dict(loaded.resource_attributes), loaded.problems


@pytest.mark.parametrize(
    "text",
    [
        "a=1",
        " a = 1 , b=two%20words%2C%20three,",
        "a=,b==,c=x=y",
        "a=1,a=2",
        "a=%C3%A9,b=ñ",
        "deployment.environment.name=production,service.version=1.2,service.instance.id=pod-7",
    ],
)
def test_pairs_are_taken_as_the_sdk_takes_them(tmp_path, monkeypatch, text):
    """Every pair is an attribute, percent-decoded, as OpenTelemetry's SDK has it."""
    monkeypatch.setenv(NAME, text)
    detected = OTELResourceDetector().detect().attributes
    assert load(tmp_path, text) == (dict(detected), ())


def test_keys_are_decoded(tmp_path):
    """A key is percent-decoded as the specification has it, which the SDK does not do."""
    assert load(tmp_path, "a%2Cb%3D=1") == ({"a,b=": "1"}, ())


@pytest.mark.parametrize("text", ["a=1,broken", "a=1,=2", "a=1,b=50%", "a=1,b=%ff", "a=1,%zz=2"])
def test_of_a_malformed_value_nothing_is_taken(tmp_path, text):
    """One pair that is none, or does not decode, costs all but the service's name, in one sentence."""
    assert load(tmp_path, text) == ({}, (MALFORMED,))
    named = settings.load(environ={NAME: f"{text},service.name=s"}, main_file=None, cwd=str(tmp_path))
    assert named.service_name == "s"


def test_what_is_ours_cannot_be_set(tmp_path):
    """Names of ours and of the telemetry SDK are passed over with a sentence; service.name has its own place."""
    text = "service.name=s,stageio.run=9,telemetry.sdk.name=x,a=1"
    assert load(tmp_path, text) == (
        {"a": "1"},
        (f"{NAME} cannot set stageio.run, telemetry.sdk.name; it is passed over.",),
    )


def test_what_is_too_long_is_cut(tmp_path):
    """At most 4 KiB of keys and values are taken, from the first on, and a sentence says where they end."""
    fits = {"a": "x" * 2000, "b": "é" * 1047}
    text = ",".join(f"{key}={value}" for key, value in fits.items())
    assert load(tmp_path, text) == (fits, ())
    assert load(tmp_path, f"{text},c=1,d=") == (
        fits,
        (f"{NAME} holds over 4096 bytes, and every line repeats them; from 'c' on it is passed over.",),
    )


def test_what_is_no_unicode_is_escaped(tmp_path):
    """Bytes that are no UTF-8 become escapes, and not an error in every line."""
    assert load(tmp_path, "a=\udcff") == ({"a": "\\udcff"}, ())


def test_every_line_says_it(tmp_path, monkeypatch):
    """Events, log records and spans of a stage, and the run's span, carry the attributes, with secrets hidden."""
    monkeypatch.setenv(NAME, "deployment.environment.name=night,api_key=canary17x,note=password%3Dcanary18x")
    with StageIO("asr", tmp_path / "job", stage_number=6) as io:
        io.get_stage_logger().info("hello")
    paths = sorted((tmp_path / "job").rglob("*.jsonl"))
    lines = [line for path in paths for piece in reader.pieces(str(path)) for line in piece.lines]
    assert {path.name for path in paths} >= {"events.jsonl", "logs.jsonl", "traces.jsonl"}
    for line in lines:
        said = line.resource.attributes
        assert (said["deployment.environment.name"], said["stageio.run"]) == ("night", 1)
        assert "canary" not in str(said)
    assert len({str(line.resource.attributes) for line in lines}) == 1
