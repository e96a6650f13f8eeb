"""More ways in for a secret, what of the environment is recorded, and the ordinary lines that stay as they are."""

from __future__ import annotations

import json
import re

import pytest

from otel_stageio import StageIO
from otel_stageio.record.secrets.redaction import MARK, Redactor

#: Ways in by the surroundings and by libraries.
STAGE = """
import logging, threading
from dataclasses import dataclass
from opentelemetry import trace
from otel_stageio import StageIO

@dataclass
class Config:
    api_key: str = "canaryDataclass1x"
    layers: int = 3

io = StageIO("asr", "job", stage_number=6, capture="root")
log = io.get_stage_logger()
io.set_config({"config": Config(), "raw": b"password=canaryBytes2x", "sk-ant-api03-" + "canaryKey3x" * 4: 1})
log.info("-----BEGIN RSA PRIVATE KEY-----\\n%s\\n-----END RSA PRIVATE KEY-----", "canaryPem4x\\n" * 4)
log.info('got {"user": "x", "access_token": "%s"}', "canaryJson5x")
log.info("GET https://host/p?a=1&api_key=%s&b=2", "canaryQuery6x")
log.info("run mysql -uroot -p%s db", "canaryGlued7x")
log.info("ALTER USER x WITH PASSWORD '%s'", "canarySql8x")
logging.getLogger("library.password=canaryLogger9x").warning("hi")
threading.Thread(target=lambda: log.info("there"), name="token=canaryThread10x").start()
try:
    try:
        raise KeyError("secret=canaryCause11x")
    except KeyError as cause:
        raise ValueError("password=canaryError12x") from cause
except ValueError as error:
    error.__notes__ = ["token: canaryNote13x"]
    log.exception("failed")
    io.add_error("failed", error)
links = [trace.Link(trace.SpanContext(1, 2, is_remote=True), {"token": "canaryLink17x"})]
tracer = trace.get_tracer("library password=canaryScope14x", "token=canaryVersion15x")
with tracer.start_as_current_span("password=canarySpan16x", links=links) as span:
    span.add_event("secret=canaryEvent18x", {"cookie": "canaryCookie19x"})
    span.set_status(trace.Status(trace.StatusCode.ERROR, "password=canaryStatus20x"))
with io.step("token=canaryStep21x"):
    pass
io.finalize("failed", reason="secret=canaryReason22x")
"""


def _everything(made, job):
    files = [path for path in job.rglob("*") if path.is_file()]
    names = "\n".join(map(str, files)).encode()
    return b"\n".join([names, made.stdout.encode(), made.stderr.encode(), *(path.read_bytes() for path in files)])


def test_surroundings_and_libraries(run_script, tmp_path):
    """Names of services, runs, loggers, threads, scopes and spans, causes, notes and texts hide theirs."""
    made = run_script(
        STAGE,
        env={
            "OTEL_SERVICE_NAME": "password=canaryService30x",
            "OTEL_RESOURCE_ATTRIBUTES": "api_key=canaryResource31x",
            "STAGEIO_RUN": "night token=canaryRun32x",
            "BAGGAGE": "token=canaryBaggage33x",
            "STAGEIO_MODE": "password=canaryMode34x",
        },
    )
    assert made.returncode == 0, made.stderr
    left = _everything(made, tmp_path / "job")
    assert sorted(set(re.findall(rb"canary\w+", left))) == []
    assert MARK.encode() in left


def test_a_run_with_a_secret_in_its_name_is_joined(run_script, tmp_path):
    """Two stages of a run whose name has a secret in it are in one run all the same."""
    for name in ("one", "two"):
        source = f"from otel_stageio import StageIO\nStageIO({name!r}, 'job').finalize()"
        assert run_script(source, env={"STAGEIO_RUN": "night token=canaryRun32x"}).returncode == 0
    assert [path.name for path in (tmp_path / "job" / ".stageio" / "runs").iterdir()] == ["001"]


def test_the_environment_is_not_recorded(run_script, tmp_path):
    """Of two hundred variables of odd names none is on disk or on the console, by name or by value."""
    odd = {f"ODD_{number}_{'Xé.-'[number % 4]}": f"oddValue{number}zz" for number in range(200)}
    source = """
        from otel_stageio import StageIO
        io = StageIO("asr", "job", stage_number=6)
        io.get_stage_logger().info("hello")
        io.finalize()
    """
    made = run_script(source, env=odd)
    assert made.returncode == 0, made.stderr
    left = _everything(made, tmp_path / "job")
    assert [name for name, value in odd.items() if name.encode() in left or value.encode() in left] == []


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@pytest.mark.parametrize(
    "token",
    [
        *("ATATT3" + LETTERS, "dapi" + "0a" * 16, "dckr_pat_" + LETTERS[:27], "gldt-" + LETTERS[:20]),
        *("glrt-" + LETTERS[5:25], "hvs." + LETTERS[:24], "lsv2_pt_" + "0a" * 16 + "_0a0a0a0a0a"),
        *("0a" * 16 + "-us12", "PMAK-" + "0a" * 12 + "-" + "0b" * 17),
        *("pul-" + "0a" * 20, "sntrys_" + LETTERS, "wandb_v1_" + LETTERS),
        *("ya29." + LETTERS, "abc8Q~" + LETTERS[:34]),
    ],
)
def test_more_issuers_tokens(token):
    """Tokens of further issuers are known by their shape."""
    assert Redactor().text(f"({token}) done") == f"({MARK}) done"


ORDINARY = """\
Epoch 3/10: train_loss=0.312 val_loss=0.401 lr=3e-4 tokens: 512
key=frame_12 written to frames/frame_12.png
max_tokens=4096 temperature=0.7 top_p=0.95
loaded tokenizer bert-base-uncased, vocab 30522
tokenized 12000 documents, 3.1M tokens, 88.1 tokens/s
pad_token_id=0 eos_token_id=2 bos_token='<s>'
join on primary_key=id foreign_key=user_id: 1200 rows
partition key: dt=2025-05-01 hour=03
sort_key=name, group keys: ['a', 'b']
cache_key=4f2a hit rate 0.93
num_attention_heads=12 key_dim=64 value_dim=64
q_proj, k_proj, v_proj: 768 -> 768
attention key shape (8, 12, 512, 64)
missing keys: ['decoder.bias']; unexpected keys: []
passed 12 of 12 checks
pass 2 of 3: refining
first pass done, second pass: decoding
bypass=true passthrough=1
checkpoint saved: runs/2025-05-01_12-30-05/ckpt-000120.pt
sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
commit 088233a9c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6 on branch main
run id 550e8400-e29b-41d4-a716-446655440000
wrote s3://bucket/table/dt=2025-05-01/part-00000-tid-4412.snappy.parquet
reading /data/raw/us-east-1/file_0001.csv.gz
region us-east-1, zone us-east-1a
instance i-0abcd1234ef567890 in vpc-0a1b2c3d
image python:3.12-slim@sha256:0a0b
GPU 0: NVIDIA A100-SXM4-80GB, 79.2 GiB free
torch 2.5.1+cu124, cuda 12.4, driver 550.54.15
conda env: asr-2025, python 3.12.1
http://localhost:8080/health?verbose=1 -> 200
https://example.com/docs?page=2&sort=name#section
postgres://localhost:5432/db: connected
mysql -u root -p db: prompted
mysql 8.0.36 at port 3306
author: Jane Doe, authored 3 files
authority=none authorized: 3 of 3
auth_method=none
secretary of the board: minutes.txt
credit=3 accredited: yes
signature: (x: int) -> str
design=2 resign=0 assigned: 4
session 3 of 7, session length 12.5 s
cookiecutter template v2 rendered
compass heading 12.5, passage 3
keyboard: qwerty; monkey=1; turkey: 2
keypoint=(3, 4) keyframe=12 keywords: a, b
WER 12.3 % CER 4.1 %, 1024 utterances
dataset common_voice_16_1/en split=train: 1,090,061 rows
dropped 12 duplicates by key (user_id, ts)
merged on keys: ['id']: 99.2 % matched
schema: id:int64, name:string, token_count:int32
token_type_ids: [0, 0, 1, 1]
prompt_tokens=812 completion_tokens=120 total_tokens=932
next_token: 'the' p=0.31
password_file=/run/x password_length=12
password: None
the password is incorrect
basic functionality: ok
bearer authentication: on"""


@pytest.mark.parametrize("line", ORDINARY.splitlines())
def test_ordinary_lines_stay(line):
    """Lines as training and loading of data write them are not touched."""
    redactor = Redactor()
    assert (redactor.text(line), redactor.count) == (line, 0)


@pytest.mark.parametrize("extra", [{}, {"k": 1}], ids=["quick", "general"])
def test_a_secret_is_counted_once(tmp_path, monkeypatch, extra):
    """A message is in the journal and in stage.log: the secret in it is one, whichever way the record takes."""
    monkeypatch.chdir(tmp_path)
    io = StageIO("asr", "job", stage_number=6)
    io.get_stage_logger().info("password=hunter2hunter2", extra=extra)
    io.finalize()
    assert json.loads((io.stage_dir / "manifest.json").read_bytes())["redacted"] == 1


def test_the_name_of_a_step_is_in_every_line_of_it(tmp_path, monkeypatch, capsys):
    """A secret in it is in no line of the logs, on the console or in the journal; the step is still named."""
    monkeypatch.chdir(tmp_path)
    io = StageIO("asr", "job", stage_number=6)
    with io.step("login password=hunter2hunter2"):
        io.get_stage_logger().info("in it")
        with io.step("inner"):
            io.get_stage_logger().warning("deeper")
    io.finalize()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert (b"hunter2hunter2" in written, "hunter2hunter2" in capsys.readouterr().err) == (False, False)
    steps = json.loads((io.stage_dir / "manifest.json").read_bytes())["steps"]
    assert [each["name"] for each in steps] == [f"login password={MARK}", f"login password={MARK}/inner"]


@pytest.mark.parametrize(
    "text",
    [
        "Cookie: a=b; password='LEAK x LEAK'",
        'Cookie: a=b | secret="LEAK two LEAK"',
        "Set-Cookie: a='LEAK b'; Path=/",
        "  | -----BEGIN RSA PRIVATE KEY-----\n  | MIIELEAK\n  | -----END RSA PRIVATE KEY-----",
        "https:/user:LEAK@host/x",
        "/tmp/none/s3:/key:LEAK@bucket/x",
    ],
)
def test_a_secret_in_odd_surroundings(text):
    """Quoted values of cookies, keys in the traceback of a group, addresses that pathlib took a slash from."""
    assert "LEAK" not in Redactor().text(text)


@pytest.mark.parametrize("text", ["C:/data/a@b", "at 12:30:/x@y", "cp host:/a/b:c/d me@there", "ratio 1:/2 a@b"])
def test_what_looks_like_an_address_stays(text):
    """A colon before a slash, and an @ somewhere, are not yet credentials."""
    assert Redactor().text(text) == text
