from __future__ import annotations

import struct
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechkit import level, recognition, resample, scoring, segments, subtitles, wav
from speechkit.recognition import Word
from speechkit.segments import SegmentSettings

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "speech" / "data" / "sense_and_sensibility.wav"
RATE = 16_000
WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=8)


def wav_bytes(data, *, code=1, channels=1, rate=RATE, width=2, bits=None, before=b"", declared=None, extensible=False):
    """A WAV file; `before` are chunks ahead of the fmt chunk, `declared` is the length that the data chunk claims."""
    head = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else code, channels, rate, rate * width, channels * width, bits or 8 * width
    )
    if extensible:
        head += struct.pack("<HHIH14s", 22, bits or 8 * width, 0, code, b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71")
    body = before + b"fmt " + struct.pack("<I", len(head)) + head
    body += b"data" + struct.pack("<I", len(data) if declared is None else declared) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def read(path, block_frames=wav.BLOCK_FRAMES):
    """All samples of a WAV file."""
    return np.concatenate(list(wav.read_blocks(path, wav.read_info(path), block_frames)))


def s24(values):
    """24 bit little-endian samples."""
    return b"".join(value.to_bytes(3, "little", signed=True) for value in values)


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (bytes([128, 192, 64, 0]), {"width": 1}),
        (np.array([0, 2**14, -(2**14), -(2**15)], "<i2").tobytes(), {"width": 2}),
        (np.array([0, 2**14, -(2**14), -(2**15)], "<i2").tobytes(), {"width": 2, "bits": 12}),
        (s24([0, 2**22, -(2**22), -(2**23)]), {"width": 3}),
        (s24([0, 2**22, -(2**22), -(2**23)]), {"width": 3, "extensible": True}),
        (np.array([0, 2**30, -(2**30), -(2**31)], "<i4").tobytes(), {"width": 4}),
        (np.array([0, 2**30, -(2**30), -(2**31)], "<i4").tobytes(), {"width": 4, "bits": 24, "extensible": True}),
        (np.array([0, 0.5, -0.5, -1], "<f4").tobytes(), {"code": 3, "width": 4}),
        (np.array([0, 0.5, -0.5, -1], "<f8").tobytes(), {"code": 3, "width": 8, "extensible": True}),
    ],
    ids=["u8", "s16", "12 in 16", "s24", "s24 extensible", "s32", "24 in 32", "f32", "f64 extensible"],
)
def test_every_encoding_is_read_alike(tmp_path, data, header):
    """The same four samples come out of 8 to 32 bit integers and of floats, with either kind of header."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(data, **header))
    assert read(path).tolist() == [[0.0], [0.5], [-0.5], [-1.0]]


def test_float_files_may_exceed_full_scale_and_hold_no_numbers(tmp_path):
    """A float sample above 1 stays what it is; one that is no number becomes silence."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(np.array([2.5, np.nan, np.inf], "<f4").tobytes(), code=3, width=4))
    assert read(path).ravel().tolist() == [2.5, 0.0, 1.0]


def test_channels_and_blocks(tmp_path):
    """Channels stay apart, blocks do not change the samples, and chunks that say nothing of the sound are skipped."""
    path = tmp_path / "a.wav"
    samples = np.arange(20, dtype="<i2").reshape(10, 2)
    path.write_bytes(wav_bytes(samples.tobytes(), channels=2, rate=44_100, before=b"LIST\x03\0\0\0abc\0"))
    info = wav.read_info(path)
    assert (info.sample_rate, info.channels, info.frames, info.missing_frames) == (44_100, 2, 10, 0)
    assert np.array_equal(read(path, block_frames=3) * 2**15, samples)


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFF])
def test_header_of_a_stream(tmp_path, declared):
    """A program that wrote to a pipe could not fill in the length: the samples go on to the end of the file."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(bytes(20), declared=declared))
    assert (wav.read_info(path).frames, wav.read_info(path).missing_frames) == (10, 0)


def test_cut_file(tmp_path):
    """A file that was cut off in the middle of a sample gives its whole samples and says how many are missing."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(bytes(2 * RATE))[: -RATE - 1])
    info = wav.read_info(path)
    assert (info.frames, info.missing_frames) == (RATE // 2 - 1, RATE // 2 + 1)
    assert len(read(path)) == RATE // 2 - 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a WAV file: it is empty"),
        (b"ID3\x04 an mp3", "is not a WAV file: it begins with b'ID3"),
        (b"RIFF\0\0\0\0AVI ", "is not a WAV file"),
        (b"RF64\0\0\0\0WAVE", "of the kind RF64"),
        (b"RIFF\0\0\0\0WAVE", "has no audio in it"),
        (wav_bytes(b"")[:30], "has no audio in it"),
        (b"RIFF\0\0\0\0WAVEdata\x02\0\0\0\0\0", "does not say what its samples are"),
        (wav_bytes(b""), "has a WAV header but no samples"),
        (wav_bytes(b"\0\0", code=17), "format 17, 1 channels"),
        (wav_bytes(b"\0\0", channels=0), "0 channels"),
        (wav_bytes(b"\0\0", rate=7), "says it has 7 samples a second"),
    ],
)
def test_what_is_no_wav_is_refused(tmp_path, content, says):
    """Any other content is refused with the file's name and what is wrong with it."""
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(wav.WavError) as caught:
        wav.read_info(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def sine(frequency, rate, seconds=1.0):
    """A tone of amplitude 0.5."""
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def resampled(samples, source, target=RATE, block=1000):
    """A whole signal at another rate, fed in blocks."""
    blocks = [samples[first : first + block] for first in range(0, len(samples), block)]
    return np.concatenate([np.zeros(0, np.float32), *resample.resample(blocks, source, target)])


@pytest.mark.parametrize("source", [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000])
def test_a_sine_stays_a_sine(source):
    """At any rate a tone keeps its frequency, its amplitude and its phase, with an error 60 dB below it."""
    out = resampled(sine(1000, source), source)
    assert len(out) == RATE
    middle = slice(RATE // 10, -RATE // 10)
    assert np.abs(out - sine(1000, RATE))[middle].max() < 0.0005


@pytest.mark.parametrize("source", [22_050, 44_100, 48_000])
def test_what_the_new_rate_cannot_hold_is_removed(source):
    """A tone above half the new rate is gone, and does not come back as another tone."""
    out = resampled(sine(10_000, source), source)
    assert np.abs(out)[RATE // 10 : -RATE // 10].max() < 0.0005


@settings(deadline=None)
@given(block=st.integers(1, 700), count=st.integers(0, 600), source=st.sampled_from([8_000, 11_025, 44_100, 12_345]))
def test_blocks_do_not_matter(block, count, source):
    """However the input is cut, the output is the same, and as long as the duration says."""
    samples = np.random.default_rng(1).normal(0, 0.1, count).astype(np.float32)
    out = resampled(samples, source, block=block)
    assert len(out) == -(-count * RATE // source)
    assert np.allclose(out, resampled(samples, source, block=1000), atol=1e-6)


def test_level():
    """Channels are averaged; the peak is brought to -1 dB, by 30 dB at most; overload is clipped."""
    assert level.to_mono(np.array([[0.5, -0.5], [1.0, 0.0]], np.float32)).tolist() == [0.0, 0.5]
    assert level.gain_for(0.5) == pytest.approx(2 * 10 ** (-1 / 20))
    assert level.gain_for(4.0) < 1
    assert level.gain_for(0.001) == pytest.approx(31.6, abs=0.03)
    assert level.gain_for(0.0) == 1.0
    assert level.to_pcm16(np.array([0, 0.25, 1, -3], np.float32), 2.0).tolist() == [0, 16384, 32767, -32768]


def found(samples, **changes):
    """The segments of a 16 kHz signal as (start, end)."""
    chosen = SegmentSettings(**changes)
    levels = segments.frame_levels([samples[:5000], samples[5000:]], RATE, chosen)
    return [(segment.start, segment.end) for segment in segments.find_segments(levels, chosen)]


def bursts(*spans, seconds=6.0, noise=0.0):
    """Tones of 500 Hz at the given times, over white noise."""
    samples = np.random.default_rng(2).normal(0, noise or 1e-9, int(seconds * RATE)).astype(np.float32)
    for start, end in spans:
        samples[int(start * RATE) : int(end * RATE)] += sine(500, RATE, end - start + 0.001)[
            : int(end * RATE) - int(start * RATE)
        ]
    return samples


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.03, 0.1])
def test_speech_is_found_in_silence_and_in_noise(noise):
    """Two bursts with a second between them are two segments with their pads; a gap of 0.2 s splits nothing."""
    assert found(bursts((1.0, 1.8), (2.0, 3.0), (4.0, 5.0), noise=noise)) == [
        (pytest.approx(0.85, abs=0.06), pytest.approx(3.15, abs=0.06)),
        (pytest.approx(3.85, abs=0.06), pytest.approx(5.15, abs=0.06)),
    ]


@pytest.mark.parametrize("hum", [0.0, 0.3])
def test_the_five_sentences_of_the_sample_are_found(hum):
    """Each sentence of the recording is one segment, also over a hum that is as loud as the voice."""
    samples = read(SAMPLE).ravel()
    expected = [(0.7, 7.8), (8.8, 11.6), (12.6, 17.7), (18.7, 24.5), (25.3, 28.6)]
    actual = found((samples + hum * np.sin(2 * np.pi * 50 * np.arange(len(samples)) / RATE)).astype(np.float32))
    assert actual == [(pytest.approx(start, abs=0.25), pytest.approx(end, abs=0.25)) for start, end in expected]


@pytest.mark.parametrize(
    "samples",
    [
        bursts(),
        bursts(noise=1e-5),
        bursts(noise=0.1),
        sine(440, RATE, 5.0),
        np.zeros(0, np.float32),
        sine(440, RATE, 0.015),
    ],
    ids=["silence", "dither", "noise", "tone", "nothing", "less than a frame"],
)
def test_nothing_is_found_where_nothing_stands_out(samples):
    """Silence, even noise and an even tone are no speech."""
    assert found(samples) == []


def test_a_click_is_no_speech():
    """What is over sooner than the shortest word is passed over."""
    assert [round(start) for start, _ in found(bursts((1.0, 1.02), (3.0, 4.0)))] == [3]


def test_long_speech_is_cut_where_it_is_quietest():
    """A segment that is too long is cut in a gap too short to end it; the parts meet there."""
    (_, cut), (start, end) = found(bursts((0.5, 2.4), (2.6, 5.2)), max_seconds=3.0)
    assert start == cut == pytest.approx(2.5, abs=0.1)
    assert end == pytest.approx(5.35, abs=0.06)


def test_no_part_of_a_long_speech_is_tiny():
    """Speech without any gap is cut into parts of at least a quarter of the longest that is allowed."""
    parts = found(bursts((0.5, 5.5)), max_seconds=2.0)
    assert all(0.5 <= end - start <= 2.3 for start, end in parts)
    assert len(parts) >= 3


def test_words_of_the_dictionary():
    """A way to say a word is the word; silence, breath and noise are none."""
    assert [recognition.spelling(entry) for entry in ("to(3)", "to")] == ["to", "to"]
    assert [recognition.is_filler(entry) for entry in ("<sil>", "</s>", "[NOISE]", "++um++", "to")] == [True] * 4 + [
        False
    ]


def test_missing_recogniser(monkeypatch):
    """Without PocketSphinx the error says what to install."""
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ImportError, match=r'pip install "\.\[speech\]"'):
        recognition.Recogniser()


def said(text, start=0.0, seconds=0.4):
    """The words of a text, one after the other without a pause."""
    return [
        Word(word=word, start=start + place * seconds, end=start + (place + 1) * seconds, confidence=1.0)
        for place, word in enumerate(text.split())
    ]


def test_srt():
    """Numbered cues with times and lines of at most 42 characters, a blank line between them."""
    shown = subtitles.cues(
        [said("one two three", 3661.5), said("the quick brown fox jumps over the lazy dog again", 3670, 0.25)]
    )
    assert subtitles.to_srt(shown) == (
        "1\n01:01:01,500 --> 01:01:02,700\none two three\n\n"
        "2\n01:01:10,000 --> 01:01:12,500\nthe quick brown fox jumps over the lazy\ndog again\n"
    )
    assert subtitles.to_srt([]) == ""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (said("before") + said("after", 1.0), ["before", "after"]),
        (said("before") + said("after", 0.9), ["before after"]),
        (said("slow words are shown soon", 0, 2.5), ["slow words", "are shown", "soon"]),
        (said("x" * 40 + " " + "y" * 40 + " z", 0, 0.1), ["x" * 40 + " " + "y" * 40 + " z"]),
        (said("x" * 40 + " " + "y" * 40 + " zz", 0, 0.1), ["x" * 40 + " " + "y" * 40, "zz"]),
    ],
)
def test_cues_begin_at_pauses_and_when_full(words, expected):
    """A pause of 0.6 s, more than 6 s and more than two lines each begin a new subtitle."""
    assert [cue.text for cue in subtitles.cues([words])] == expected


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("a b c d", "a b c d", (0, 0, 0)),
        ("a b c d", "a x c d", (1, 0, 0)),
        ("a b c d", "a c d", (0, 1, 0)),
        ("a b c d", "a b b c d e", (0, 0, 2)),
        ("a b c d", "", (0, 4, 0)),
        ("Mr. Dashwood's, o\u2019clock!", "mister dashwood's o'clock", (0, 0, 0)),
    ],
)
def test_word_errors(reference, hypothesis, expected):
    """Substitutions, deletions and insertions are told apart; case, punctuation and abbreviations do not count."""
    errors = scoring.word_errors(reference, hypothesis)
    assert (errors.substitutions, errors.deletions, errors.insertions) == expected
    assert errors.rate == sum(expected) / errors.reference_words


def test_differences_are_named():
    """What was said and what was recognised stand beside each other, in order."""
    errors = scoring.word_errors("he was an ill disposed man and he said", "he was not ill disposed young man and said")
    pairs = [(difference.reference, difference.hypothesis) for difference in errors.differences]
    assert pairs == [("an", "not"), ("", "young"), ("he", "")]


@cache
def distance(left, right):
    """The Levenshtein distance, by its definition."""
    if not left or not right:
        return len(left) + len(right)
    substituted = distance(left[1:], right[1:]) + (left[0] != right[0])
    return min(substituted, 1 + distance(left[1:], right), 1 + distance(left, right[1:]))


@settings(deadline=None)
@given(reference=WORDS.filter(bool), hypothesis=WORDS)
def test_no_alignment_has_fewer_errors(reference, hypothesis):
    """The number of errors is the Levenshtein distance of the two lists of words."""
    errors = scoring.word_errors(" ".join(reference), " ".join(hypothesis))
    assert len(errors.differences) == distance(tuple(reference), tuple(hypothesis))
    assert len(hypothesis) - len(reference) == errors.insertions - errors.deletions


def test_reference_without_words():
    """There is no error rate without words to get wrong."""
    with pytest.raises(ValueError, match="no words"):
        scoring.word_errors(" ... ", "a")
