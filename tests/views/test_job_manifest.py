"""manifest.json of a job: our stages, and what another program wrote there."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.views import job_manifest, manifest
from otel_stageio.views.summary import Summary
from tests.journal.samples import unhurried
from tests.views.story import BEGAN, JOB, SECOND, TRACE, schema, validate

RUN = {
    "run": 2,
    "name": None,
    "trace_id": TRACE,
    "span_id": "00f067aa0ba902b7",
    "pipeline_log": "logs/99_pipeline_20251127_123001.log",
    "host": "node1",
    "created_unix_nano": BEGAN,
}
STATUSES = ["running", "success", "failed", "skipped", "abandoned", "lost"]
ENDED = ("success", "failed", "skipped")


def stage(name: str, number: int, status: str = "success", **more: Any) -> Summary:
    """An attempt in the current run, started at its number's second and, if it ended, a second and a half later."""
    began = BEGAN + number * SECOND
    ended = began + SECOND * 3 // 2 if status in ENDED else 0
    about = {"attempt": 1, "run": 2, "started": began, "ended": ended, **more}
    return Summary(stage=name, stage_number=number, status=status, **about)


def entry(name: str, number: int, status: str = "success", **more: Any) -> dict[str, Any]:
    """What the job manifest should say of `stage` of the same arguments."""
    return {
        "stage": name,
        "stage_number": number,
        "status": status,
        "run": 2,
        "attempt": 1,
        "duration_seconds": 1.5 if status in ENDED else None,
        "folder": f"{number:02d}_{name}",
        **more,
    }


def made(*stages: Summary, before: Any = None, run: Any = None, pipeline: str = "") -> dict[str, Any]:
    """The job manifest of these stages, valid by the schema; composed from its own output it must stay as it is."""
    arguments: dict[str, Any] = {
        "job_id": JOB,
        "run": run or RUN,
        "pipeline": pipeline,
        "stages": [(f"{of.stage_number:02d}_{of.stage}", of) for of in stages],
    }
    document = job_manifest.job_manifest(**arguments, before=before or {})
    validate("job_manifest", document)
    known = {"$ref": "#/$defs/stage", "$defs": schema("job_manifest")["$defs"]}
    for each in document["stages"][: len(stages)]:
        jsonschema.validate(each, known, jsonschema.Draft202012Validator)
    again = job_manifest.job_manifest(**arguments, before=json.loads(manifest.dump(document)))
    assert manifest.dump(again) == manifest.dump(document)
    return document


def test_a_job_of_ours():
    """Every key in its place: the run's, the lists of its stages by state, and all stages by number."""
    stages = [stage("asr", 6, "failed"), stage("ingest", 1), stage("score", 9, "skipped"), stage("old", 3, run=1)]
    assert list(made(*stages).items()) == [
        ("schema_version", "1.0"),
        ("job_id", JOB),
        ("status", "failed"),
        ("run", 2),
        ("trace_id", TRACE),
        ("started_at", "2025-11-27T12:30:01.123456Z"),
        ("pipeline_log", "logs/99_pipeline_20251127_123001.log"),
        ("completed_stages", ["ingest"]),
        ("failed_stages", ["asr"]),
        ("skipped_stages", ["score"]),
        (
            "stages",
            [entry("ingest", 1), entry("old", 3, run=1), entry("asr", 6, "failed"), entry("score", 9, "skipped")],
        ),
    ]


def test_a_named_run():
    """A run's name is told where it has one."""
    document = made(stage("asr", 6), run={**RUN, "name": "nightly"})
    assert document["run_name"] == "nightly"
    assert "run_name" not in made(stage("asr", 6), before=document)


def test_stages_of_one_number_are_in_the_order_of_their_names():
    """Two stages may share a number; the list does not depend on who was found first."""
    one, two = stage("a", 5), stage("b", 5)
    assert made(one, two)["stages"] == made(two, one)["stages"] == [entry("a", 5), entry("b", 5)]


@pytest.mark.parametrize(
    ("statuses", "pipeline", "missing", "expected"),
    [
        (["success"], "", [], "success"),
        (["success", "skipped"], "", [], "success"),
        (["running", "failed"], "", [], "running"),
        (["success", "failed"], "", [], "failed"),
        (["success", "failed"], "", ["score"], "failed"),
        (["success", "abandoned"], "", [], "failed"),
        (["success", "lost"], "", [], "failed"),
        (["success"], "", ["score"], "running"),
        (["running"], "", ["score"], "running"),
        (["running"], "failed", [], "running"),
        (["failed"], "running", [], "failed"),
        (["success"], "running", [], "running"),
        (["success"], "failed", [], "failed"),
        (["success"], "failed", ["score"], "failed"),
        (["success"], "success", ["score"], "success"),
        (["failed"], "success", [], "failed"),
    ],
)
def test_the_state_of_a_run(statuses, pipeline, missing, expected):
    """What of this comes first: one runs; one failed or died; the word of the pipeline; one is missing; success."""
    stages = [stage(f"s{index}", index, status) for index, status in enumerate(statuses)]
    assert job_manifest.status(stages, missing, pipeline) == expected
    declared = (*(of.stage for of in stages), *missing)
    assert made(*(of._replace(declared=declared) for of in stages), pipeline=pipeline)["status"] == expected


def test_a_success_that_was_contradicted():
    """A stage that said success and then otherwise has succeeded, but its run has failed."""
    document = made(stage("asr", 6, contradicted=True))
    assert (document["status"], document["completed_stages"]) == ("failed", ["asr"])


def test_only_the_current_run_counts():
    """A failure, or a missing stage, of an earlier run does not make the current one fail or wait."""
    document = made(stage("ingest", 1, "failed", run=1, declared=("ingest", "asr", "score")), stage("asr", 6))
    assert (document["status"], document["failed_stages"], document["completed_stages"]) == ("success", [], ["asr"])


def test_the_newest_stage_says_what_is_declared():
    """The declared order is that of the stage started last: a pipeline that lost a stage does not wait for it."""
    old = stage("ingest", 1, declared=("ingest", "filter", "asr"))
    assert made(old)["status"] == "running"
    assert made(old, stage("asr", 6, declared=("ingest", "asr")))["status"] == "success"


@pytest.mark.parametrize("status", STATUSES)
def test_dead_stages_are_failed_ones(status):
    """Abandoned and lost stages are listed as failed, a running one nowhere; the entry has the word itself."""
    document = made(stage("asr", 6, status))
    lists = {"success": "completed_stages", "skipped": "skipped_stages", "running": None}
    expected = lists.get(status, "failed_stages")
    found = [key for key in ("completed_stages", "failed_stages", "skipped_stages") if document[key]]
    assert found == ([expected] if expected else [])
    assert document["stages"] == [entry("asr", 6, status)]


# What another program wrote.

#: An orchestrator's list, and the same in other common forms.
FOREIGN = {"pipeline": "dub", "owner": {"name": "ada"}, "status": "queued", "run": "2025-11-27", "stages": []}


def test_foreign_keys():
    """Another program's keys stay at the top; those with names of ours move under `foreign`, once and for good."""
    document = made(stage("asr", 6), before=FOREIGN)
    assert (document["pipeline"], document["owner"]) == ("dub", {"name": "ada"})
    assert document["foreign"] == {"status": "queued", "run": "2025-11-27"}
    assert (document["status"], document["run"]) == ("success", 2)
    assert made(stage("asr", 6, "failed"), before=document)["foreign"] == document["foreign"]


def test_a_foreign_key_called_foreign():
    """Nothing of the other program is lost where it uses that very name."""
    assert made(stage("asr", 6), before={"foreign": "yes"})["foreign"] == {"foreign": "yes"}


@pytest.mark.parametrize("key", ["stage", "stage_name", "name"])
def test_foreign_stages_as_entries(key):
    """Entries of other stages stay behind ours as they are; one of a stage of ours, by name or folder, is replaced."""
    others = [{key: "demux", "state": "done"}, {key: "mix", "state": "waiting", "needs": ["asr"]}]
    mine = [{key: "asr", "state": "waiting"}, {key: "06_asr"}]
    document = made(stage("asr", 6), before={"stages": [mine[0], others[0], mine[1], others[1]]})
    assert document["stages"] == [entry("asr", 6), *others]


def test_foreign_stages_as_names():
    """A list of names stays one, without the names of stages that we have."""
    document = made(stage("asr", 6), before={"stages": ["demux", "asr", "06_asr", "mix"]})
    assert document["stages"] == [entry("asr", 6), "demux", "mix"]


def test_foreign_stages_by_name():
    """Stages in an object become entries that say their names; the state of one that is no object is its `state`."""
    before = {"stages": {"demux": {"state": "done"}, "asr": {"stage": 3}, "mix": "waiting", "06_asr": None}}
    document = made(stage("asr", 6), before=before)
    assert document["stages"] == [
        entry("asr", 6),
        {"stage": "demux", "state": "done"},
        {"stage": "mix", "state": "waiting"},
    ]


def test_foreign_entries_that_name_nobody():
    """What cannot be told to be about a stage of ours stays."""
    odd = [None, 5, ["asr"], {}, {"id": 7}, {"stage": 6}, {"name": None}]
    assert made(stage("asr", 6), before={"stages": odd})["stages"] == [entry("asr", 6), *odd]


@pytest.mark.parametrize("stages", ["asr", 5, None, True])
def test_foreign_stages_that_are_no_list(stages):
    """Anything else under `stages` moves under `foreign`."""
    document = made(stage("asr", 6), before={"stages": stages})
    assert document["foreign"] == {"stages": stages}
    assert document["stages"] == [entry("asr", 6)]


def test_entries_of_ours_that_are_out_of_date():
    """An entry that we wrote is replaced, and goes with its stage's folder."""
    document = made(stage("ingest", 1), stage("asr", 6, "running"))
    assert made(stage("asr", 6), before=document)["stages"] == [entry("asr", 6)]


def test_entries_of_ours_that_somebody_edited():
    """A changed value is put right; an entry that somebody added a key to stays while no stage of ours has its name."""
    document = made(stage("ingest", 1), stage("asr", 6))
    document["stages"][1]["status"] = "failed"
    document["stages"][0]["note"] = "checked by hand"
    document["status"] = "failed"
    document["comment"] = "by hand"
    again = made(stage("asr", 6), before=document)
    assert again["stages"] == [entry("asr", 6), entry("ingest", 1, note="checked by hand")]
    assert (again["status"], again["comment"]) == ("success", "by hand")
    assert made(stage("asr", 6), stage("ingest", 1), before=again)["stages"] == [entry("ingest", 1), entry("asr", 6)]


def test_foreign_that_somebody_edited():
    """Where `foreign` is no object any more it is dropped: it was ours to write."""
    document = made(stage("asr", 6), before=FOREIGN)
    assert "foreign" not in made(stage("asr", 6), before={**document, "foreign": "edited"})


def test_where_the_other_program_writes_again():
    """The other program's newer document takes the older one's place in what is kept."""
    made(stage("asr", 6), before=FOREIGN)
    document = made(stage("asr", 6), before={"status": "done", "stages": [{"name": "mix"}]})
    assert document["foreign"] == {"status": "done"}
    assert document["stages"] == [entry("asr", 6), {"name": "mix"}]
    assert "pipeline" not in document


@pytest.mark.parametrize(
    ("document", "mine"),
    [
        ({}, False),
        ({"schema_version": "1.0", "stages": []}, False),
        ({"schema_version": "1.0", "job_id": JOB, "stages": [], "trace_id": TRACE}, True),
        ({"schema_version": 3, "job_id": JOB, "stages": [], "trace_id": TRACE}, False),
    ],
)
def test_which_documents_are_ours(document, mine):
    """A document is ours where it has our version and the keys that nobody else has together."""
    assert job_manifest.ours(document) == mine


NAMES = st.sampled_from(["asr", "06_asr", "mix", "", "stages"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.sampled_from(["stage", "name"]), inner),
    max_leaves=6,
)
KEYS = st.sampled_from([*job_manifest._OUR_KEYS, "pipeline", "owner"])


@unhurried
@given(st.dictionaries(KEYS, JSON), st.lists(st.sampled_from(STATUSES), min_size=1, max_size=3))
def test_any_document_of_another_program(before, statuses):
    """Whatever stands there, the result is valid, comes to itself again, and has every foreign value somewhere."""
    stages = [stage("asr"[index:], 6 - index, status) for index, status in enumerate(statuses)]
    document = made(*stages, before=before)
    if job_manifest.ours(before):
        return
    for key, value in before.items():
        kept = document.get("foreign", {}) if key in job_manifest._OUR_KEYS else document
        if key != "stages" or not isinstance(value, (list, dict)):
            assert kept[key] == value


def test_the_schema_catches_mistakes():
    """A job manifest with one wrong value of ours is refused; foreign keys and entries are not."""
    document = made(stage("asr", 6), before={"pipeline": "dub", "stages": ["mix"]})
    wrong: list[dict[str, Any]] = [
        {"schema_version": 1},
        {"job_id": ""},
        {"status": "skipped"},
        {"run": 0},
        {"trace_id": "x"},
        {"started_at": None},
        {"pipeline_log": None},
        {"completed_stages": [1]},
        {"failed_stages": "asr"},
        {"stages": {}},
        {"foreign": {}},
        {"stages": [entry("asr", 6, "done")]},
        {"stages": [entry("asr", 6, "running", duration_seconds=1.0)]},
        {"stages": [entry("asr", 6, "success", duration_seconds=None)]},
        {"stages": [entry("asr", -1)]},
        {"stages": [entry("asr", 6, attempt="1")]},
    ]
    for change in wrong:
        with pytest.raises(jsonschema.ValidationError):
            validate("job_manifest", document | change)
    for key in document.keys() - {"pipeline"}:
        with pytest.raises(jsonschema.ValidationError, match="is a required property"):
            validate("job_manifest", {name: of for name, of in document.items() if name != key})
