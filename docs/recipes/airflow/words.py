"""The words of a text as a DAG: scripts are started by BashOperator, a callable by PythonOperator."""

from collections import Counter
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from otel_stageio import StageIO

STAGES = Path(__file__).resolve().parents[1] / "stages"
#: A job folder for each DAG run, on a file system that all workers see.
JOB = "{{ params.jobs }}/{{ run_id }}"


def count_words(job):
    """A stage in the process of its task."""
    with StageIO("count", job, stages=["split", "count", "report"]) as io:
        source = io.get_input_path("words.json", "split")
        io.track_input(source, "words")
        counts = Counter(io.load_json(source))
        io.track_output(io.save_json(counts, "counts.json"), "counts", different=len(counts))
        io.get_stage_logger().info("%d different words", len(counts))


with DAG("words", schedule=None, params={"text": "talk.txt", "jobs": "/tmp/jobs"}) as dag:  # noqa: S108 - an example
    split = BashOperator(
        task_id="split",
        bash_command=f"python3 {STAGES}/split.py '{{{{ params.text }}}}'",
        env={"STAGEIO_JOB_DIR": JOB},
        append_env=True,
    )
    count = PythonOperator(task_id="count", python_callable=count_words, op_kwargs={"job": JOB})
    report = BashOperator(
        task_id="report",
        bash_command=f"python3 {STAGES}/report.py",
        env={"STAGEIO_JOB_DIR": JOB},
        append_env=True,
    )
    split >> count >> report
