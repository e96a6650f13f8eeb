"""The recipes for programs that have an environment of their own: `make recipes` makes it and runs these tests."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from otel_stageio import open_job
from tests.recipes.conftest import DONE, told
from tests.recipes.pages import RECIPES

pytestmark = [pytest.mark.recipes, pytest.mark.timeout(300)]

HERE = Path(__file__).resolve().parent
DAG = RECIPES / "airflow" / "words.py"
SNAKEFILE = RECIPES / "snakemake" / "Snakefile"
NOTEBOOK = RECIPES / "jupyter" / "talk.ipynb"
AFTER_THE_FIRST = '''

def split(text):
    """The stage before, which the notebook reads from."""
    from otel_stageio import StageIO
    with StageIO("split", "out/talk", stages=["split", "count", "report"]) as io:
        io.track_output(io.save_json(text.split(), "words.json"), "words")
'''

SKIPS = """    from airflow.exceptions import AirflowSkipException
    with StageIO("count", job) as io:
        io.finalize("skipped", reason="no words")
    raise AirflowSkipException
"""


@pytest.fixture
def airflow(ran, tmp_path):
    """Run the DAG once, in a database of its own; what Airflow printed."""
    environ = {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAG.parent),
    }

    def run_dag(text: Path, dag: Path = DAG) -> str:
        return ran("python", HERE / "airflow_dag.py", dag, text, tmp_path / "jobs", environment="airflow", **environ)

    ran("airflow", "db", "migrate", environment="airflow", **environ)
    return run_dag


def test_airflow(airflow, talk, tmp_path):
    """A DAG run with both operators is one job, one run, one trace; what stages log is in Airflow's log of the task."""
    printed = airflow(talk)
    assert "ended: success" in printed
    (job,) = (tmp_path / "jobs").iterdir()
    assert job.name.startswith("manual__")
    assert told(job) == DONE
    assert "[split] [INFO] talk.txt has 8 words" in printed
    assert printed.count("5 different words") == 1


def test_airflow_task_that_fails(airflow, talk, tmp_path):
    """A stage that fails fails its task, and the tasks after it leave no record."""
    talk.unlink()
    assert "ended: failed" in airflow(talk)
    (job,) = (tmp_path / "jobs").iterdir()
    assert told(job).stages == [(1, "split", "failed")]


def test_airflow_task_that_skips(airflow, talk, tmp_path):
    """A stage that ends as skipped and whose task skips behind its block is that, and the job has not failed."""
    shutil.copytree(RECIPES / "stages", tmp_path / "stages")
    dag = tmp_path / "airflow" / "words.py"
    body = re.compile(r"(?<=:\n)( {4}.*\n)+(?=\n\nwith DAG)")
    dag.write_text(body.sub(SKIPS, DAG.read_text(encoding="utf-8")), encoding="utf-8")
    assert "ended: success" in airflow(talk, dag)
    (job,) = (tmp_path / "jobs").iterdir()
    assert told(job).stages == [(1, "split", "success"), (2, "count", "skipped")]
    assert open_job(job).manifest("count")["warnings"] == []
    overview = open_job(job).overview()
    assert overview is not None
    assert overview["status"] == "running"  # the last stage of the declared order has not started


def test_snakemake(ran, talk, tmp_path):
    """The workflow is one run and one trace; asked for again it starts nothing, and stage.log keeps all attempts."""
    command = ("snakemake", "--cores=2", "-s", SNAKEFILE, "--config", f"text={talk}", "job=out/talk")
    job = tmp_path / "out/talk"
    ran(*command, environment="snakemake")
    assert told(job) == DONE
    assert "Nothing to be done" in ran(*command, environment="snakemake")

    (job / "03_report/report.txt").unlink()
    ran(*command, environment="snakemake", STAGEIO_RUN="report only")
    assert told(job) == DONE._replace(runs=[1, 2], traces=2)
    assert [row["attempt"] for row in open_job(job).stages] == [1, 1, 2]
    assert (job / "03_report/stage.log").read_text(encoding="utf-8").count("The most frequent of 5 words") == 2


def test_snakemake_after_a_failure(run, ran, talk, tmp_path):
    """A stage that fails ends Snakemake; the name of that run goes on in its trace, and both attempts are on record."""
    command = ("snakemake", "--cores=2", "-s", SNAKEFILE, "--config", f"text={talk}")
    talk.write_bytes(b"\xff")
    assert run(*command, environment="snakemake", STAGEIO_RUN="night").returncode == 1
    talk.write_text("the cat")
    ran(*command, environment="snakemake", STAGEIO_RUN="night")
    assert told(tmp_path / "out") == DONE
    assert [row["status"] for row in open_job(tmp_path / "out").attempts()] == ["failed", *["success"] * 3]


def test_ray(ran, tmp_path):
    """Tasks on two nodes are items of one run and one trace, and each reads what its item wrote."""
    items = [f"ep{number}" for number in range(6)]
    for item in items:
        (tmp_path / f"{item}.txt").write_text("the cat and the dog", encoding="utf-8")
    texts = [f"{item}.txt" for item in items]
    program = (HERE / "ray_cluster.py", "python", RECIPES / "ray" / "words.py", "out/talks", *texts)
    printed = ran("python", *program, environment="ray", RAY_USAGE_STATS_ENABLED="0")
    job = open_job(tmp_path / "out/talks")
    assert sorted((row["item"], row["stage"], row["attempt"], row["status"]) for row in job.attempts()) == [
        (item, stage, 1, "success") for item in items for stage in ("count", "split")
    ]
    found = told(tmp_path / "out/talks")
    assert (found.runs, found.traces, found.elsewhere) == ([1], 1, [])
    read = [row for row in job.artifacts() if row.get("producer")]
    assert sorted((row["item"], row["producer"]["item"]) for row in read) == [(item, item) for item in items]
    assert re.search(r"\[count:ep\d\] \[INFO\] 4 different words", printed)
    configs = [json.loads(path.read_text())["config"] for path in (tmp_path / "out/talks").glob("*/ep*/manifest.json")]
    assert len({config["ray.node"] for config in configs}) == 2

    # What the driver said once holds in every worker: the run's name, the order of the stages, the pipeline.
    (name,) = {row["run_name"] for row in job.stages}
    assert (name or "").startswith("ray 2")
    assert {row["folder"].partition("/")[0] for row in job.stages} == {"01_split", "02_count"}
    assert not [row for row in job.logs() if "STAGEIO_STAGES" in row["message"]]
    traces = [path.read_text(encoding="utf-8") for path in (tmp_path / "out/talks").rglob("traces.jsonl")]
    assert all('{"key":"service.name","value":{"stringValue":"words"}}' in text for text in traces)


def notebook(path: Path, cells: list[str]) -> Path:
    """The recipe's notebook with these cells."""
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    document["cells"] = [{**document["cells"][0], "id": f"cell-{n}", "source": cell} for n, cell in enumerate(cells)]
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def cells_of_the_recipe() -> list[str]:
    """Its cells, behind one that leaves what they read."""
    cells = [cell["source"] for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]]
    return [AFTER_THE_FIRST + '\nsplit("the cat and the dog")', *cells]


def test_notebook(ran, tmp_path):
    """The cells are one attempt of the stage, in the run of the stage before."""
    ran("jupyter", "execute", notebook(tmp_path / "talk.ipynb", cells_of_the_recipe()), environment="jupyter")
    assert told(tmp_path / "out/talk") == DONE._replace(stages=DONE.stages[:2], read=DONE.read[:1])


def test_notebook_cell_that_is_run_again(ran, tmp_path):
    """Opening the stage once more ends the attempt before as superseded; the kernel's end leaves none running."""
    before, opens, works, ends = cells_of_the_recipe()
    again = notebook(tmp_path / "again.ipynb", [before, opens, works, opens, works, ends, opens])
    ran("jupyter", "execute", again, environment="jupyter")
    rows = [row for row in open_job(tmp_path / "out/talk").attempts() if row["stage"] == "count"]
    assert [(row["status"], row["reason"]) for row in rows][:2] == [("failed", "superseded"), ("success", None)]
    assert [(row["status"], row["reason"]) for row in rows][2] == ("failed", "not finalized")


@pytest.mark.usefixtures("talk")
def test_notebook_as_the_page_says(follow, tmp_path):
    """What the page says to type works as it stands there."""
    follow("jupyter", environment="jupyter")
    job = told(tmp_path / "jupyter/out/talk")
    assert job == DONE._replace(stages=DONE.stages[:2], read=DONE.read[:1])


@pytest.mark.usefixtures("talk")
def test_snakemake_as_the_page_says(follow, tmp_path):
    """What the page says to type works as it stands there."""
    follow("snakemake", environment="snakemake")
    assert told(tmp_path / "out/talk") == DONE
