from __future__ import annotations

import json
import shutil
import wave
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

from otel_stageio.journal import reader
from speechkit import wav
from speechkit.resample import resample

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SPEECH = EXAMPLES / "speech"
SAMPLE = SPEECH / "data" / "sense_and_sensibility.wav"
FOLDERS = ["01_ingest", "02_normalise", "03_segment", "04_recognise", "05_subtitle", "06_score"]
MOST_WRONG_WORDS = 0.6
LAST_SENTENCE = int(25.2 * 16_000)  # where it begins


def manifest(folder):
    """The manifest of a stage or a job."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def statuses(job):
    """Status of each stage that the job's manifest lists, by folder."""
    return {entry["folder"]: entry["status"] for entry in manifest(job)["stages"]}


def artifacts(job, stage, kind):
    """Type of each tracked file of a stage, by path."""
    return {entry["path"]: entry["type"] for entry in manifest(job / stage)[kind]}


@pytest.fixture
def speech(run_script, tmp_path):
    """Run the pipeline on a WAV file into tmp_path/job; what the process left."""
    return lambda *wav_option: run_script(SPEECH / "run.py", "--job", tmp_path / "job", *wav_option)


@pytest.fixture
def sentence(tmp_path):
    """The last sentence of the sample as a recording of its own, with its text."""
    path = tmp_path / "sentence.wav"
    with wave.open(str(SAMPLE), "rb") as sample, wave.open(str(path), "wb") as file:
        file.setparams(sample.getparams())
        sample.setpos(LAST_SENTENCE)
        file.writeframes(sample.readframes(sample.getnframes()))
    text = SAMPLE.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[-1]
    path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return path


def test_sample_is_recognised_and_shown(speech, tmp_path):
    """The whole pipeline runs on the recording: most words are right, and everything is recorded and shown."""
    ran = speech()
    assert ran.returncode == 0, ran.stderr
    job = tmp_path / "job"
    assert statuses(job) == dict.fromkeys(FOLDERS, "success")
    assert manifest(job)["status"] == "success"

    metric = manifest(job / "06_score")["metrics"]["speech.word_error_rate"]
    assert 0 < metric["value"] < MOST_WRONG_WORDS
    assert metric["unit"] == "1"
    score = json.loads((job / "06_score" / "score.json").read_text(encoding="utf-8"))
    assert score["word_error_rate"] == pytest.approx(metric["value"], abs=0.0001)
    assert score["reference_words"] == len(SAMPLE.with_suffix(".txt").read_text(encoding="utf-8").split())

    words = [
        word for segment in json.loads((job / "04_recognise" / "words.json").read_text()) for word in segment["words"]
    ]
    assert all(0 <= word["start"] < word["end"] <= 29.53 and 0 <= word["confidence"] <= 1 for word in words)
    assert [word["start"] for word in words] == sorted(word["start"] for word in words)

    transcript = (job / "05_subtitle" / "transcript.srt").read_text(encoding="utf-8")
    assert transcript.startswith("1\n00:00:0")
    for shown in (
        transcript.rstrip(),
        "|-- 01_ingest/",
        "] [recognise] [INFO] Recognising 5 segments",
        '"speech.word_error_rate"',
    ):
        assert shown in ran.stdout


def test_files_are_tracked(speech, sentence, tmp_path):
    """Each stage lists what it wrote and what it read: from outside the job and from earlier stages."""
    assert speech("--wav", sentence).returncode == 0
    job = tmp_path / "job"
    assert artifacts(job, "01_ingest", "inputs") == {
        str(sentence): "audio",
        str(sentence.with_suffix(".txt")): "reference",
    }
    assert artifacts(job, "04_recognise", "inputs") == {
        "02_normalise/audio.wav": "audio",
        "03_segment/segments.json": "segments",
    }
    assert artifacts(job, "05_subtitle", "outputs") == {
        "05_subtitle/transcript.srt": "subtitles",
        "05_subtitle/transcript.json": "transcript",
    }
    assert artifacts(job, "06_score", "inputs") == {
        "01_ingest/reference.txt": "reference",
        "05_subtitle/transcript.json": "transcript",
    }
    (cached,) = manifest(job / "02_normalise")["intermediate_files"]
    assert (cached["path"], cached["retained"]) == ("02_normalise/.cache/resampled.f32", False)
    assert not (job / cached["path"]).exists()
    assert [one["warnings"] for one in (manifest(job / folder) for folder in FOLDERS)] == [[]] * len(FOLDERS)
    assert manifest(job / "03_segment")["config"]["min_silence_seconds"] == 0.3


def test_traces_are_one_tree(speech, sentence, tmp_path):
    """Rebuilt from all traces.jsonl files, the pipeline is one tree: run, stages, steps; links say who read of whom."""
    assert speech("--wav", sentence).returncode == 0
    spans = [span for path in (tmp_path / "job").rglob("traces.jsonl") for span in reader.spans(str(path))]
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans)
    assert len({span.trace_id for span in spans}) == 1
    assert [span.name for span in spans if not span.parent_span_id] == ["speech"]
    assert {span.parent_span_id for span in spans} - {""} <= by_id.keys()

    def tree(parent: str) -> list:
        below = [span for span in spans if span.parent_span_id == parent]
        below.sort(key=attrgetter("start_time_unix_nano"))
        return [(span.name, tree(span.span_id)) if tree(span.span_id) else span.name for span in below]

    assert tree("") == [
        (
            "speech",
            [
                "ingest",
                ("normalise", ["resample", "amplify"]),
                "segment",
                ("recognise", ["load", "segment"]),
                "subtitle",
                "score",
            ],
        )
    ]
    steps = manifest(tmp_path / "job" / "04_recognise")["steps"]
    assert [(step["name"], step["status"]) for step in steps] == [("load", "success"), ("segment", "success")]
    assert {span.name: sorted({by_id[link.span_id].name for link in span.links}) for span in spans if span.links} == {
        "normalise": ["ingest"],
        "segment": ["normalise"],
        "recognise": ["normalise", "segment"],
        "subtitle": ["recognise"],
        "score": ["ingest", "subtitle"],
    }


def test_another_recording_without_reference(speech, sentence, tmp_path):
    """44.1 kHz stereo float is recognised as well; without a text beside it the score is skipped, with the reason."""
    samples = np.concatenate(list(wav.read_blocks(sentence, wav.read_info(sentence)))).ravel()
    loud = np.concatenate(list(resample([samples], 16_000, 44_100))) * np.float32(3)
    content = np.stack([loud, loud], axis=1).astype("<f4").tobytes()
    fmt = b"fmt \x10\0\0\0\x03\0\x02\0" + b"".join(n.to_bytes(4, "little") for n in (44_100, 352_800)) + b"\x08\0\x20\0"
    path = tmp_path / "mine.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + fmt + b"data" + len(content).to_bytes(4, "little") + content)

    assert speech("--wav", path).returncode == 0
    job = tmp_path / "job"
    assert statuses(job) == {**dict.fromkeys(FOLDERS, "success"), "06_score": "skipped"}
    assert manifest(job / "06_score")["reason"] == "there is no reference text beside the recording"
    text = json.loads((job / "05_subtitle" / "transcript.json").read_text(encoding="utf-8"))["text"]
    assert {"he", "might", "even", "have", "been", "made"} <= set(text.split())


def test_reference_of_another_recording_is_not_kept(run_script, tmp_path):
    """A job that is used for a second recording, which has no text, forgets the first one's."""
    plain = tmp_path / "plain.wav"
    shutil.copyfile(SAMPLE, plain)
    env = {"STAGEIO_JOB_DIR": str(tmp_path / "job")}
    kept = []
    for recording in (SAMPLE, plain):
        assert run_script(SPEECH / "ingest.py", recording, env=env).returncode == 0
        kept.append((tmp_path / "job" / "01_ingest" / "reference.txt").exists())
    assert kept == [True, False]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("song.wav", b"ID3\x04 this is an mp3", "is not a WAV file"), ("absent.wav", None, "No such file or directory")],
)
def test_what_is_no_wav_fails_the_first_stage(speech, tmp_path, name, content, says):
    """The first stage fails with a clear error in its log and its manifest, and no other stage runs."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    ran = speech("--wav", path)
    assert ran.returncode == 1
    assert "The stage ingest failed (exit code 1)" in ran.stderr
    job = tmp_path / "job"
    (error,) = manifest(job / "01_ingest")["errors"]
    assert says in error["message"]
    assert str(path) in error["message"]
    (line,) = [line for line in ran.stderr.splitlines() if "[ERROR]" in line]
    assert "[ingest] [ERROR] Failed: " in line
    assert says in line
    assert line in (job / "01_ingest" / "stage.log").read_text(encoding="utf-8")
    assert statuses(job)["01_ingest"] == manifest(job)["status"] == "failed"
    assert not list(job.glob("02_*"))


def test_recording_without_speech(speech, tmp_path):
    """A silent, cut-off recording passes through all stages, with a warning where each shortcoming was noticed."""
    path = tmp_path / "silent.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16_000))
    path.write_bytes(path.read_bytes()[:-100])
    path.with_suffix(".txt").write_text("nobody said this", encoding="utf-8")

    assert speech("--wav", path).returncode == 0
    job = tmp_path / "job"
    warned = {folder: [warning["message"] for warning in manifest(job / folder)["warnings"]] for folder in FOLDERS[:4]}
    assert warned == {
        "01_ingest": ["the file is cut off: 0.01 s of audio are missing"],
        "02_normalise": ["very quiet recording: peak 0.00000 of full scale"],
        "03_segment": ["no speech found"],
        "04_recognise": ["no word was recognised"],
    }
    assert (job / "05_subtitle" / "transcript.srt").read_text(encoding="utf-8") == ""
    assert manifest(job / "06_score")["metrics"]["speech.word_error_rate"]["value"] == 1


@pytest.fixture
def card(tmp_path):
    """A project with the card's Quick Start, and an out/ folder as its job."""
    shutil.copytree(EXAMPLES / "reference_card", tmp_path / "project")
    (tmp_path / "project" / "out").mkdir()
    return tmp_path / "project"


def test_quick_start_of_the_card_runs_unchanged(run_script, card):
    """The script with its own import line is a success; the output that it only names is recorded as missing."""
    (card / "out" / "input.json").write_text("{}", encoding="utf-8")
    ran = run_script(card / "scripts" / "your_stage.py", cwd=card)
    assert ran.returncode == 0, ran.stderr
    stage = card / "out" / "01_your_stage"
    written = manifest(stage)
    assert written["status"] == "success"
    assert [(one["path"], one["type"]) for one in written["inputs"]] == [("input.json", "json")]
    assert [(one["path"], one["type"]) for one in written["outputs"]] == [("01_your_stage/output.json", "json")]
    assert ["output.json" in warning["message"] for warning in written["warnings"]] == [True]
    log = (stage / "stage.log").read_text(encoding="utf-8")
    for line in ("[your_stage] [INFO] Starting stage\n", "[your_stage] [INFO] Stage complete\n"):
        assert line in log
        assert line in ran.stderr


def test_quick_start_of_the_card_without_its_input(run_script, card):
    """Without its input the script is a success as well, for it never opens the file; a warning says it is missing."""
    assert run_script(card / "scripts" / "your_stage.py", cwd=card).returncode == 0
    messages = [warning["message"] for warning in manifest(card / "out" / "01_your_stage")["warnings"]]
    assert any("input.json" in message for message in messages)


def test_shared_module_of_the_card_has_two_lines():
    """All that an existing project needs to change is a module of two lines."""
    source = (EXAMPLES / "reference_card" / "shared" / "stage_utils.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) == 2
