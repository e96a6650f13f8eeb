"""Lines of the log files: to be read by people, and by programs without doubt."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_stageio.views import logline
from otel_stageio.views.logline import ParsedRecord
from tests.journal.samples import unhurried

AT = "2025-11-27 13:30:01.123"
#: Any text whatever, lone surrogates too, with much of what matters here.
texts = st.text(st.characters() | st.sampled_from("\\x[]u41 \n\t\r\x1b\u2028\ud800!#"), max_size=30)
#: Text that was escaped before, once or often.
tricky = st.lists(st.sampled_from(["\\", "\\\\", "x41", "u2028", "\x1b", "\n", "\ud800", "a", "]", "["])).map("".join)
any_text = texts | tricky


def parsed(text: str) -> list[ParsedRecord]:
    """The records in a log file of this content."""
    return list(logline.parse(text.split("\n")))


@unhurried
@given(any_text)
@example("\\" * 3 + "\x1b" + "\\" * 2 + "x1b")
def test_escaping_can_be_undone(text):
    """unescape(escape(text)) is the text, and nothing but newlines and tabs is left of what controls."""
    escaped = logline.escape(text)
    assert logline.unescape(escaped) == text
    assert all(each.isprintable() or each in "\n\t" or ord(each) > 0x9F for each in escaped)
    assert escaped.encode().decode() == escaped


@unhurried
@given(any_text)
def test_a_tag_can_be_undone(text):
    """A name between brackets has neither bracket nor newline, and can be read back."""
    tag = logline.tag(text)
    assert "]" not in tag
    assert "\n" not in tag
    assert logline.unescape(tag) == text


@unhurried
@given(any_text, any_text, any_text, any_text)
@example("\\", "INFO", "[X] hello", "")
@example("asr", "INFO", "", "\n")
def test_a_record_can_be_read_back(stage, level, message, exception):
    """parse(render(record)) is the record, whatever its names, message and exception are."""
    text = logline.render(AT, logline.tag(stage), logline.tag(level), message, exception)
    assert parsed(text) == [ParsedRecord(AT, stage, level, message, exception)]


@unhurried
@given(st.lists(st.tuples(any_text, any_text), max_size=5))
def test_no_message_can_forge_a_line(said):
    """A file of records gives back those records and no more: no message begins a line that looks like another."""
    text = "".join(logline.render(AT, "asr", "INFO", message, exception) + "\n" for message, exception in said)
    assert [(each.message, each.exception) for each in parsed(text)] == said
    assert sum(each.startswith("[") for each in text.split("\n")) == len(said)


FORGED = f"done\n[{AT}] [asr] [ERROR] forged\r[{AT}] [asr] [ERROR] forged\u2028[{AT}]\n# {AT} stage x\n  ! no"


def test_an_attempt_at_forging():
    """A message with the look of lines, headers and exceptions stays one message, here and for a plain grep."""
    text = logline.render(AT, "asr", "INFO", FORGED)
    assert text == (
        f"[{AT}] [asr] [INFO] done\n"
        f"    [{AT}] [asr] [ERROR] forged\\x0d[{AT}] [asr] [ERROR] forged\\u2028[{AT}]\n"
        f"    # {AT} stage x\n"
        f"      ! no"
    )
    assert parsed(text) == [ParsedRecord(AT, "asr", "INFO", FORGED, "")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        ("C:\\temp\\new", "C:\\temp\\new"),
        ("C:\\x\\users", "C:\\x\\users"),
        ("\\d+\\s*", "\\d+\\s*"),
        ("Grüße, 音声 \U0001f600", "Grüße, 音声 \U0001f600"),
        ("a\tb\nc", "a\tb\nc"),
        ("non\u00a0breaking", "non\u00a0breaking"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("50%\r100%", "50%\\x0d100%"),
        ("\0\x7f\x85\u2029", "\\x00\\x7f\\x85\\u2029"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udcff", "\\udcff"),
        ("\\x41", "\\\\x41"),
        ("\\\\x41", "\\\\\\\\x41"),
        ("\\xAB", "\\xAB"),
        ("\\\x1b", "\\\\\\x1b"),
    ],
)
def test_escaped_text_is_readable(text, shown):
    """What is harmless stays as it is, Windows paths too; what is not is written as Python would."""
    assert logline.escape(text) == shown
    assert logline.unescape(shown) == text


def test_long_runs_of_backslashes_take_no_time():
    """Escaping and reading back takes time in proportion to the text, whatever it is made of."""
    text = "\\" * 1_000_000
    begun = time.monotonic()
    assert logline.unescape(logline.escape(text + "\x1b" + text + "x")) == text + "\x1b" + text + "x"
    assert time.monotonic() - begun < 5


def test_a_record_with_everything():
    """Head line, further lines of the message indented by four, those of the exception behind an exclamation mark."""
    text = logline.render(AT, "asr", "ERROR", "failed\n\n  at 3 s", "Traceback:\n  File\n\nValueError")
    assert text.split("\n") == [
        f"[{AT}] [asr] [ERROR] failed",
        "    ",
        "      at 3 s",
        "  ! Traceback:",
        "  !   File",
        "  ! ",
        "  ! ValueError",
    ]


def test_headers_and_strangers_are_passed_over():
    """Lines that are no record of ours, and what follows them, are passed over; the records around them are read."""
    lines = [
        "no head yet",
        "    nor here",
        logline.header(AT, "+0100", stage="a]b", number=6, attempt=2, run=1, pid=5, host="h\n"),
        f"[{AT}] [asr] [INFO] one",
        "",
        "torn [asr",
        "[2025] [asr] [INFO] wrong time",
        "    belongs to the wrong one",
        f"[{AT}] [asr] [INFO]",
    ]
    assert [each.message for each in logline.parse(lines)] == ["one", ""]
    assert lines[2] == f"# {AT} +0100 stage a\\x5db (06), attempt 2, run 1, pid 5 on h\\x0a"


def test_the_clock(monkeypatch):
    """Local time with milliseconds, cut and not rounded; a second's text is made when it begins, also going back."""
    made = []
    strftime = time.strftime
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        patch.setattr(time, "strftime", lambda *how: made.append(how) or strftime(*how))
        time.tzset()
        clock = logline.LineClock()
        after = (0, 123_999_999, 999_999_999, 1_000_000_000, 999_999_999)
        texts = [clock.text(1_764_246_601_000_000_000 + more) for more in after]
    time.tzset()
    assert texts == [f"2025-11-27 13:30:0{rest}" for rest in ("1.000", "1.123", "1.999", "2.000", "1.999")]
    assert len(made) == 3


def test_times_of_another_place():
    """A clock with an offset shows the local time there, whatever it is here."""
    assert logline.LineClock(20_700).text(1_764_246_601_123_000_000) == "2025-11-27 18:15:01.123"
    assert logline.LineClock(-3600).text(0) == "1969-12-31 23:00:00.000"
