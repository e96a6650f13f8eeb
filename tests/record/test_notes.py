"""Configuration, metrics, warnings, errors and resources: in the manifest, on the span, and not in the log."""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from pydantic import BaseModel

from otel_stageio import StageIO
from otel_stageio import conventions as names


@pytest.fixture
def io() -> StageIO:
    """An open stage, number 6, in `out`."""
    return StageIO("asr", stage_number=6)


def raised(message: str = "bad") -> ValueError:
    """An exception with a traceback."""
    with pytest.raises(ValueError, match=message) as caught:
        raise ValueError(message)
    return caught.value


class Pydantic(BaseModel):
    model: str = "m"
    beams: int = 5


@dataclass
class Data:
    model: str = "m"
    beams: int = 5
    deep: dict[str, int] = field(default_factory=dict)


class Handwritten:
    def __init__(self) -> None:
        self.model, self.beams = "m", 5


@pytest.mark.parametrize(
    "config",
    [
        {"model": "m", "beams": 5},
        argparse.Namespace(model="m", beams=5),
        SimpleNamespace(model="m", beams=5),
        Pydantic(),
        OmegaConf.create({"model": "m", "beams": "${b}", "b": 5}),
        Data(),
        Handwritten(),
    ],
    ids=lambda config: type(config).__name__,
)
def test_set_config_of_any_object_with_names(io, told, config):
    """A mapping, Namespace, dataclass, pydantic, OmegaConf or hand-written object is the configuration."""
    io.set_config(config)
    io.finalize()
    found = told(io).manifest["config"]
    assert (found["model"], found["beams"]) == ("m", 5)


def test_set_config_again_adds_and_the_later_value_wins(io, told):
    """Configuration adds up over calls; a later value of a key replaces the earlier in its place."""
    io.set_config({"model": "m", "beams": 5})
    io.add_config("device", "cpu")
    io.set_config({"beams": 8, "language": "de"})
    io.add_config("model", None)
    io.finalize()
    assert list(told(io).manifest["config"].items()) == [
        ("model", None),
        ("beams", 8),
        ("device", "cpu"),
        ("language", "de"),
    ]


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (float("inf"), "Infinity"),
        (2**64, str(2**64)),
        (Decimal("1.10"), "1.10"),
        (Color.RED, "red"),
        (Path("a"), "a"),
        (np.int64(7), 7),
        ([{"a": (1, 2)}], [{"a": [1, 2]}]),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_values_of_any_kind(io, told, value, shown):
    """Whatever the value, configuration, metrics, resources and extra record it faithfully."""
    io.set_config({"a": value})
    io.add_config("b", value)
    io.add_metric("m", value)
    io.set_resources(r=value)
    io.finalize("success", e=value)
    document = told(io).manifest
    assert document["config"] == {"a": shown, "b": shown}
    assert document["metrics"] == {"m": {"value": shown, "unit": "1"}}
    assert (document["resources"]["r"], document["extra"]) == (shown, {"e": shown})


def test_arguments_that_break_when_asked(io, told):
    """No argument makes one of these calls raise: neither a key, a value, a message nor an exception."""
    odd = Odd()
    for of in (odd, None, 7, b"\0", "\ud800"):
        io.set_config(of)
        io.add_config(of, of)
        io.add_metric(of, of, of)
        io.add_warning(of)
        io.add_error(of, of)
    io.set_resources(odd=odd)
    io.finalize()
    document = told(io).manifest
    assert len(document["warnings"]) == len(document["errors"]) == len(document["metrics"]) == 5
    assert [error["message"] for error in document["errors"]][1:] == ["None", "7", "b'\\x00'", "\\ud800"]
    assert all(type(warning["message"]) is str for warning in document["warnings"])


def test_metrics(io, told):
    """A metric has value and unit, 1 by default; of one name the last is shown, and each is in the journal."""
    io.add_metric("words", 3, "{word}")
    io.add_metric("rate", 0.5)
    io.add_metric("words", 4, unit="{word}")
    io.finalize()
    assert told(io).manifest["metrics"] == {
        "words": {"value": 4, "unit": "{word}"},
        "rate": {"value": 0.5, "unit": "1"},
    }
    assert len(told(io).named(names.METRIC)) == 3
    assert told(io).span.attributes["stageio.metric.words"] == 4


def test_resources_that_are_set_stay(io, told):
    """What set_resources gives is in `resources`, and what is measured at the end does not replace it."""
    io.set_resources(gpu="none", wall_seconds=1)
    io.set_resources(gpu="one")
    io.finalize()
    found = told(io).manifest["resources"]
    assert (found["gpu"], found["wall_seconds"]) == ("one", 1)
    assert found["peak_memory_mb"] > 1


def test_notes_are_not_logged(io, told, capsys, caplog):
    """None of these calls logs: not to stage.log, the console or the host's handlers."""
    io.set_config({"a": 1})
    io.add_config("b", 2)
    io.add_metric("m", 3)
    io.set_resources(r=4)
    io.add_warning("w")
    io.add_error("e")
    io.add_error("e", "as text")
    io.finalize()
    assert told(io).lines == []
    assert told(io).records == []
    assert capsys.readouterr().err == ""
    assert caplog.records == []
    assert set(told(io).manifest["log_counts"].values()) == {0}


def test_warnings_and_errors_hold_the_calls_alone(io, told):
    """`warnings` and `errors` hold these calls; log records of those levels are counted only."""
    logger = io.get_stage_logger()
    logger.warning("logged")
    logger.error("logged")
    io.add_warning("noted")
    io.add_error("noted too")
    io.finalize()
    document = told(io).manifest
    assert told(io).warnings == ["noted"]
    (error,) = document["errors"]
    assert set(error) == {"timestamp", "message"}
    assert (document["log_counts"]["WARNING"], document["log_counts"]["ERROR"]) == (1, 1)


@pytest.mark.parametrize("call", ["set_config", "add_config", "add_metric", "add_warning", "add_error"])
def test_each_call_is_one_event_of_the_span(io, told, call):
    """Each call is one event of the stage's span, at its time, with what was said."""
    arguments = {
        "set_config": ({"a": 1, "b": [2]},),
        "add_config": ("a", 1),
        "add_metric": ("m", 1.5, "s"),
        "add_warning": ("said",),
        "add_error": ("said", raised()),
    }[call]
    getattr(io, call)(*arguments)
    io.finalize()
    span = told(io).span
    (event,) = [event for event in span.events if event.name != names.LOG_EVENT]
    name = {"set_config": names.CONFIG, "add_config": names.CONFIG, "add_metric": names.METRIC}.get(call)
    assert event.name == (name or {"add_warning": names.WARNING, "add_error": names.ERROR}[call])
    assert span.start_time_unix_nano <= event.time_unix_nano <= span.end_time_unix_nano
    if call == "set_config":
        assert (event.attributes["stageio.config.a"], event.attributes["stageio.config.b"]) == (1, "[2]")
        assert span.attributes["stageio.config.a"] == 1
    if call in ("add_warning", "add_error"):
        assert event.attributes["message"] == "said"
    if call == "add_error":
        assert event.attributes[names.EXCEPTION_TYPE] == "ValueError"


# Errors with exceptions.


def test_error_with_an_exception(io, told):
    """add_error records the exception's type, message and stack trace, and writes its traceback at DEBUG."""
    io.add_error("recognition failed", raised())
    io.finalize("failed")
    (error,) = told(io).manifest["errors"]
    assert (error["message"], error["exception_type"], error["exception_message"]) == (
        "recognition failed",
        "ValueError",
        "bad",
    )
    assert error["stacktrace"].endswith("ValueError: bad")
    (line,) = told(io).log
    assert (line.level, line.message, line.exception) == ("DEBUG", "ValueError: bad", error["stacktrace"])
    (record,) = told(io).records
    assert record.attributes[names.CODE_FUNCTION_NAME] == "raised"
    assert record.attributes[names.CODE_FILE_PATH] == __file__
    assert told(io).manifest["reason"] == "recognition failed"


def test_error_with_a_text_for_an_exception(io, told):
    """Existing stages pass the exception as text: that is its message."""
    io.add_error("failed", exception="Traceback: ...")
    io.finalize()
    (error,) = told(io).manifest["errors"]
    assert (error["message"], error["exception_message"]) == ("failed", "Traceback: ...")


@pytest.mark.parametrize("how", ["exception", "exc_info", "child"])
def test_a_traceback_that_was_logged_is_not_written_again(io, told, how):
    """Where the stage logged the exception itself its traceback is in stage.log once."""
    logger = io.get_stage_logger()
    try:
        int("bad")
    except ValueError as error:
        if how == "exception":
            logger.exception("Failed")
        elif how == "exc_info":
            logger.warning("Failed", exc_info=error)
        else:
            logger.getChild("a").warning("Failed", exc_info=True)
        io.add_error("failed", error)
        io.finalize("failed")
    assert io.stage_log.read_text().count("Traceback") == 1
    assert [message for _, message in told(io).lines] == ["Failed"]
    assert len(told(io).manifest["errors"]) == 1


def test_the_traceback_reaches_stage_log_whatever_the_host_set(io, told, capsys, caplog):
    """The traceback is in stage.log also where the logger's level or logging.disable refuse DEBUG, and nowhere else."""
    host = logging.StreamHandler()  # as basicConfig makes it: with no level of its own
    logging.getLogger().addHandler(host)
    io.get_stage_logger().setLevel(logging.ERROR)
    logging.disable(logging.CRITICAL)
    io.add_error("failed", raised())
    assert [line.exception.count("ValueError: bad") for line in told(io).log] == [1]
    assert capsys.readouterr().err == ""
    assert caplog.records == []


def test_filters_of_the_user_see_the_traceback(io, told):
    """A filter that the user put on the logger decides about the traceback too; one that raises lets it pass."""
    logger = io.get_stage_logger()
    logger.addFilter(refuse := lambda _: False)
    io.add_error("failed", raised("one"))
    logger.removeFilter(refuse)
    logger.addFilter(lambda _: 1 / 0)
    io.add_error("failed", raised("two"))
    assert [message for _, message in told(io).lines] == ["ValueError: two"]


def test_one_exception_through_two_stages(told):
    """An exception that passes through a stage within another is told by both, once each."""
    outer = StageIO("outer", stage_number=1)
    inner = StageIO("inner", stage_number=2)
    with pytest.raises(ValueError, match="bad"), outer, inner:
        raise ValueError("bad")
    for io in (outer, inner):
        found = told(io)
        assert [error["exception_message"] for error in found.manifest["errors"]] == ["bad"]
        assert len(found.log) == 1
        assert "Traceback" in found.log[0].exception


def test_trouble_of_our_own_never_reaches_the_stage(io, monkeypatch, capsys):
    """A bug of ours in one of these calls costs the note: one line on stderr for each kind, and the stage goes on."""

    def broken(*_: object, **__: object) -> None:
        raise TypeError("no OTLP value")

    with monkeypatch.context() as patch:
        patch.setattr(io._recorder, "event", broken)
        for _ in range(2):
            io.set_config({"a": 1})
            io.add_config("a", 1)
            io.add_metric("m", 1)
            io.add_warning("w")
            io.add_error("e")
            io.set_resources(r=1)
    kinds = {line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines()}
    assert kinds == {
        "cannot record the configuration",
        "cannot record a metric",
        "cannot record a warning",
        "cannot record an error",
        "cannot record resources",
    }
    assert len(io.manifest["degraded"]) == 5


def test_a_large_configuration_is_whole(told):
    """A configuration too large for a line is journaled in several events, and the manifest has all of it."""
    io = StageIO("asr")
    config = {f"key {number}": "x" * 1024 for number in range(2000)}
    io.set_config(config)
    io.finalize()
    assert told(io).manifest["config"] == config
