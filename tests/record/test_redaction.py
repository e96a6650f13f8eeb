"""Redaction: what is hidden, what stays readable, and what it costs at most."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_stageio import conventions
from otel_stageio.record.secrets import commands as secret_commands
from otel_stageio.record.secrets import names as secret_names
from otel_stageio.record.secrets.redaction import MARK, PROGRAMS, Redactor

ROOT = Path(__file__).parents[2]
#: What must be gone wherever it stood.
CANARY = "hunter2-Canary/9+x"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@pytest.fixture
def redactor():
    """A redactor with no patterns and an empty environment."""
    return Redactor()


@pytest.mark.parametrize(
    "text",
    [
        "password={}",
        "PASSWORD={} make deploy",
        "password: {}",
        "password : '{}'",
        'password="{}"',
        "password := {}",
        "password => {}",
        "password=={}",
        "if password == '{}':",
        "db_password={}",
        "dbPassword={}",
        "db-password: {}",
        "db.password={}",
        "PGPASSWORD={}",
        "passwd: {}",
        "Passwort: {}",
        "pwd={}",
        "pass: {}",
        "db_pass={}",
        "password1={}",
        "password is {}",
        "the token: {}",
        "API key: {}",
        "api_key={}",
        "apikey={}",
        "apiKey={}",
        "X-Api-Key: {}",
        "client_secret={}",
        "clientSecret: {}",
        "aws_secret_access_key = {}",
        "AWS_SECRET_ACCESS_KEY={}",
        "HF_TOKEN={}",
        "WANDB_API_KEY={}",
        "session_token={}",
        "private_key: {}",
        "AccountName=x;AccountKey={};EndpointSuffix=core",
        "Server=tcp:h;Database=d;User Id=u;Password={};Encrypt=True",
        "host=h user=u password={} dbname=d",
        "Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey={}",
        "{{'token': '{}', 'n': 1}}",
        '{{"token":"{}","n":1}}',
        '{{\\"token\\": \\"{}\\"}}',
        "{{'password': b'{}'}}",
        "Namespace(epochs=3, token='{}')",
        "Config(api_key={}, n=2)",
        "Config(api_key={}).",
        "os.environ['API_KEY'] = '{}'",
        "export API_KEY='{}'",
        "auth=('bob', '{}')",
        '"passwords": ["{}", "x1"]',
        "credentials: {{'a': '{}'}}",
        "<password>{}</password>",
        '<add name="db_password" value="{}"/>',
        '{{"name": "DB_PASSWORD", "value": "{}"}}',
        "db:\n  user: me\n  password: {}\n",
        "a=1\nexport TOKEN={}\nb=2",
        "İİ Password={} İ",
        "line\\nauthorization: Bearer {}\\nhost: x",
        "Authorization: Bearer {}",
        "Authorization: Token {}",
        "authorization: {}",
        "Proxy-Authorization: Basic {}",
        'Authorization: Digest username="u", response={}',
        "curl -H 'Authorization: Bearer {}' https://host/x",
        "PRIVATE-TOKEN: {}",
        "Cookie: theme=dark; sid={}; a=b",
        "Set-Cookie: sid={}; Path=/; HttpOnly",
        "{{'Cookie': 'sid={}'}}",
        "use Bearer {} for it",
        "train.py --password {} --epochs 3",
        "train.py --password={}",
        "train.py --db-password '{}'",
        "train.py -token {}",
        "Command '['train', '--api-key', '{}', '-v']' returned non-zero exit status 1.",
        '["train","--api-key","{}"]',
        "curl -u me:{} https://host/x",
        "['curl', '-u', 'me:{}', 'https://host']",
        "postgres://me:{}@host:5432/db",
        "postgresql+psycopg2://me:{}@host/db?sslmode=require",
        "mongodb+srv://me:{}@cluster.example/db",
        "redis://:{}@host:6379/0",
        "connecting to https://me:{}@host/path now",
        "url='https://me:{}@host/path'",
        "simplecache::s3://me:{}@bucket/a",
        "https://host/?next=https://me:{}@other/x&z=1",
        "https://host/a?token={}&x=1",
        "https://host/a?%74oken={}",
        "https://host/a?x=1;sig={}",
        "https://host/a#access_token={}",
        "GET /a?sig={}&x=1 HTTP/1.1",
        "s3://bucket/a?X-Amz-Signature={}&X-Amz-Date=1",
        "passphrase: correct horse {} staple",
    ],
)
def test_a_secret_is_hidden_in_text(redactor, text):
    """A secret that stands after its name, in an address, in a header or on a command line is gone, and marked."""
    given = text.format(CANARY)
    shown = redactor.text(given)
    assert MARK in shown
    assert not any(part in shown for part in ("hunter2", "Canary", "9+x"))
    assert redactor.count > 0
    assert redactor.text(shown) is shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("login as bob, password=hunter2, retry 3", f"login as bob, password={MARK}, retry 3"),
        ('{"api_key": "hunter2", "n": 3}', f'{{"api_key": "{MARK}", "n": 3}}'),
        ("password=hun,ter;2&x user=bob", f"password={MARK} user=bob"),
        ("Password=hun,t;er2;User=x", f"Password={MARK};User=x"),
        ("token=abc1&user=bob", f"token={MARK}&user=bob"),
        ("Authorization: Bearer abc123 sent", f"Authorization: Bearer {MARK} sent"),
        ("postgres://me:pw@host:5432/db", f"postgres://{MARK}@host:5432/db"),
        ("https://hf_token@host/path", f"https://{MARK}@host/path"),
        ("https://user:12/34@host/x", f"https://{MARK}@host/x"),
        ("postgres://me:5432/x@host/db", f"postgres://{MARK}@host/db"),
        ("https://h/?next=https%3A%2F%2Fu%3Apw%40h2&x=1", f"https://h/?next={MARK}&x=1"),
        ("https://h/?next=%252Fcb%253Ftoken%253Dabc", f"https://h/?next={MARK}"),
        ("s3://bucket/token=abc1/part-0.parquet", f"s3://bucket/token={MARK}/part-0.parquet"),
        ("bot 123456789:AAH-abcdefghijklmnopqrstuvwxyz012345 up", f"bot 123456789:{MARK} up"),
        ("curl -u me:hunter2 https://h", f"curl -u me:{MARK} https://h"),
        (
            "a -----BEGIN RSA PRIVATE KEY-----\nMIIE+/=\n-----END RSA PRIVATE KEY----- b",
            f"a {MARK} b",
        ),
        ("-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n", f"{MARK}\\n"),
        ("private_key = '-----BEGIN PRIVATE KEY-----\nMIIE\ncut", f"private_key = '{MARK}"),
    ],
)
def test_no_more_than_the_secret_is_hidden(redactor, text, shown):
    """What stands around a secret stays: names, users of command lines, hosts, other pairs and parameters."""
    assert redactor.text(text) == shown


@pytest.mark.parametrize(
    "token",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "AIza" + LETTERS[:35],
        "AGE-SECRET-KEY-1" + "Q" * 58,
        "GOCSPX-" + LETTERS[20:48],
        "SG." + LETTERS[:22] + "." + LETTERS[:43],
        "SK" + "0a" * 16,
        "dop_v1_" + "0a" * 32,
        JWT,
        *(f"gh{kind}_" + LETTERS[:36] for kind in "opsur"),
        "github_pat_" + LETTERS[:22] + "_" + LETTERS[:59],
        "glpat-" + "a-b_c" * 4,
        "glptt-" + "0a" * 20,
        "glsa_" + LETTERS[:32] + "_0a0a0a0a",
        "gsk_" + LETTERS[:52],
        "hf_" + LETTERS[:34],
        "key-" + "0a" * 16,
        "lin_api_" + LETTERS[:40],
        "npm_" + LETTERS[:36],
        "ntn_" + LETTERS[:46],
        "pplx-" + LETTERS[:48],
        "pypi-AgEIcHlwaS5vcmcC" + LETTERS,
        "r8_" + LETTERS[:37],
        "sk_live_" + LETTERS[:24],
        "rk_test_" + LETTERS[:24],
        "shpat_" + "0a" * 16,
        "sk-" + LETTERS[:48],
        "sk-proj-" + "a-b_c" * 20,
        "sk-ant-api03-" + "a-b_c" * 19,
        "sk-or-v1-" + "0a" * 32,
        "sq0csp-" + LETTERS[:43],
        "whsec_" + LETTERS[:32],
        "xai-" + LETTERS,
        "xapp-1-A0123456789-0123456789012-" + "0a" * 32,
        "xoxb-123456789012-1234567890123-" + LETTERS[:24],
        "hooks.slack.com/services/T01234567/B01234567/" + LETTERS[:24],
        "discord.com/api/webhooks/123456789012345678/" + LETTERS,
        "123456789:AA" + LETTERS[:33],
        "Bearer " + LETTERS[:30],
        "Basic dXNlcjpwYXNzd29yZA==",
        "/blob?sv=2022&sig=" + LETTERS[:43] + "%3D",
    ],
)
def test_a_token_is_known_by_its_shape(redactor, token):
    """An issued token is hidden wherever it stands, without a name before it."""
    given = f"https://{token} done" if "/" in token[:30] else f"({token}) done"
    shown = redactor.text(given)
    assert MARK in shown
    assert shown.endswith(" done")
    assert token[-16:] not in shown
    assert redactor.value("note", [given]) == [shown]
    assert redactor.value("note", {given: 1}) == {shown: 1}


@pytest.mark.parametrize(
    "text",
    [
        "tokens: 512",
        "max_tokens=4096",
        "num_tokens=3, token_count=7",
        "12 tokens/s, tokens_per_second=88.1",
        "tokenizer: bert",
        "tokenizer=AutoTokenizer.from_pretrained('x')",
        "token=17",
        "token: <unk>, pad_token='<pad>', eos_token='</s>'",
        "cls_token=[CLS]",
        "next token: hello",
        "token = self.tokenizer.decode(ids)",
        "key=frame_12",
        "sort_key=name cache_key=0ab1 primary_key=id",
        "public_key_path=/x/y.pub",
        "keyboard: qwerty",
        "monkey=1",
        "keypoint=(3, 4)",
        "keywords: a, b",
        "author: Jane Doe",
        "authority=x, authored: y",
        "auth_method=none auth: disabled",
        "passed: 3",
        "passes=2, pass_rate=0.9, first_pass=ok",
        "second pass: decoding the lattice",
        "compass: N, passage: 3, bypass=1",
        "secretary: Ann",
        "password: None",
        "password=",
        'password=""',
        "password: ********",
        "password=${DB_PASSWORD} token=$TOKEN",
        "password={password}",
        "password_file=/run/x password_length=12",
        "token: expired",
        "token_type=bearer",
        "token_ids=[1, 2, 3]",
        "use --no-password option x",
        "pass --token to it",
        "the password is incorrect",
        "pwd: /work/data",
        "secret_name=db-credentials",
        "credentials: ~/.aws/credentials",
        "accredited: y, credit=3",
        "signature: (x: int) -> str",
        "session_id=2024-05-01_a session: 3",
        "sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 088233a9c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6",
        "run 550e8400-e29b-41d4-a716-446655440000",
        "checksum=n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
        "basic functionality: ok, Basic Training",
        "bearer authentication: on, Bearer certificates",
        "task-specific: risk-averse-strategy-of-the-desk",
        "s3://bucket/a@b:c@d",
        "https://host:8080/a@b",
        "https://[::1]:8080/a@b",
        "ssh://git@host/repo",
        "docker://alpine@sha256:0a0b",
        "abfss://raw@acct.dfs.core.windows.net/a.wav",
        "zip://a.csv::abfs://box@acct.dfs.core.windows.net/x.zip",
        "https://host/s?monkey=1&design=2&tokenizer=x&keyword=cat&author=ann",
        "mail bob@example.com: hi",
        "12:30:05 a=1, b: 2",
        "",
        "\x00\n\t",
    ],
)
def test_what_looks_like_a_secret_and_is_none_stays(redactor, text):
    """Counts, tokenizers, table keys, authors, digests, states, placeholders and paths are not touched."""
    assert redactor.text(text) is text
    assert redactor.value("note", text) is text
    assert redactor.count == 0


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PASSWORD", "db_password", "passwd", "passphrase", "pwd", "pgpassword", "api_key", "apikey"),
        *("X-Api-Key", "client_secret", "aws_secret_access_key", "HF_TOKEN", "authorization", "cookie", "set-cookie"),
        *("session_token", "private_key", "connection_string", "secret", "credentials", "auth", "jwt", "accessToken"),
        *("stageio.artifact.metadata.api_key", "http.request.header.authorization", "sessionid", "refresh_token"),
    ],
)
def test_a_secret_name_hides_the_whole_value(redactor, name):
    """Text, bytes, lists and mappings under a secret name are hidden as a whole; nothing and no are not."""
    for value in ("hunter2", "a b c", b"hunter2", ["hunter2", 1], {"a": {"b": "hunter2"}}):
        assert redactor.value(name, value) == MARK
        assert redactor.value("config", {"deep": [{name: value}]}) == {"deep": [{name: MARK}]}
    for value in (None, True, False, "", [], {}, "none", "disabled"):
        assert redactor.value(name, value) is value


def test_numbers_stay_under_names_that_count_or_number(redactor):
    """A number is no token and no count of secrets; as a password it is hidden."""
    open_ones = {"tokens": 512, "token": 17, "pass": 2, "auth": 1.5, "secrets": 3, "api_keys": 2, "token_ids": [1, 2]}
    assert redactor.attributes(open_ones) is open_ones
    assert redactor.attributes({"password": 12345, "api_key": 7, "n": 1}) == {"password": MARK, "api_key": MARK, "n": 1}
    assert redactor.count == 2


@pytest.mark.parametrize(
    "attributes",
    [
        {"tokens": ["a", "b"], "pad_token": "<pad>", "key": "frame_12", "author": "x", "sort_key": "name"},
        {"session_id": "S01", "public_key_path": "/x", "token_type": "bpe", "tokenizer": {"vocab": 3}},
        {"nested": {"list": [{"a": b"\xff\x00"}, 1.5, None, "text"]}, "PWD": "/work/x", "keys": ["a"]},
        {"name": "mode", "value": "fast"},
    ],
)
def test_attributes_without_secrets_are_the_same_object(redactor, attributes):
    """Nothing is copied where there is nothing to hide."""
    assert redactor.attributes(attributes) is attributes
    assert redactor.value("config", attributes) is attributes


def test_values_are_walked(redactor):
    """Secrets are found in lists, mappings, keys, bytes, command lines, and pairs of name and value."""
    given = {
        "note": ["see password=hunter2", {"url": "https://me:hunter2@h/x"}],
        "raw": b"password=hunter2 \xff",
        "argv": ["run", "--password", "hunter2", "-v"],
        "env": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "MODE", "value": "fast"}],
        "of token=hunter2": 1,
    }
    assert redactor.attributes(given) == {
        "note": [f"see password={MARK}", {"url": f"https://{MARK}@h/x"}],
        "raw": f"password={MARK} ".encode() + b"\xff",
        "argv": ["run", "--password", MARK, "-v"],
        "env": [{"name": "DB_PASSWORD", "value": MARK}, {"name": "MODE", "value": "fast"}],
        f"of token={MARK}": 1,
    }
    assert redactor.count == 6


def test_keys_that_become_equal_are_kept_apart(redactor):
    """Two keys of which only the secret differed stay two."""
    given = {f"a {JWT}": 1, f"a {JWT}x": 2, f"a {MARK}": 3}
    assert redactor.attributes(given) == {f"a {MARK}": 1, f"a {MARK} (2)": 2, f"a {MARK} (3)": 3}


def test_no_value_is_nested_too_deep(redactor):
    """Where Python cannot go deeper, what is below is hidden: nothing is raised."""
    value = "password=hunter2"
    for _ in range(5000):
        value = {"a": [value]}
    shown = redactor.value("x", value)
    while isinstance(shown, (dict, list)):
        shown = shown["a"] if isinstance(shown, dict) else shown[0]
    assert shown == MARK


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["--password", "a b"], ["--password", MARK]),
        (["--password=a b", "x"], [f"--password={MARK}", "x"]),
        (["--password='a b'"], [f"--password='{MARK}'"]),
        (["--db-password", "x", "--", "y"], ["--db-password", MARK, "--", "y"]),
        (["-token", "abc"], ["-token", MARK]),
        (["--password", "--verbose", "x"], ["--password", "--verbose", "x"]),
        (["--no-password", "x", "--max-tokens", "512"], ["--no-password", "x", "--max-tokens", "512"]),
        (["env", "PASSWORD=a b", "cmd"], ["env", f"PASSWORD={MARK}", "cmd"]),
        (["train", "db.password=a,b c", "+model.token=abc"], ["train", f"db.password={MARK}", f"+model.token={MARK}"]),
        (["-Ddb.password=a"], [f"-Ddb.password={MARK}"]),
        (["-H", "Authorization: Bearer a b"], ["-H", f"Authorization: {MARK}"]),
        (["-H", "X-Api-Key: abc"], ["-H", f"X-Api-Key: {MARK}"]),
        (["https://me:pw@h/x?sig=1"], [f"https://{MARK}@h/x?sig={MARK}"]),
        (["python", "-c", "login(password='a b')"], ["python", "-c", f"login(password='{MARK}')"]),
        (["/usr/bin/curl", "-u", "me:pw", "x"], ["/usr/bin/curl", "-u", f"me:{MARK}", "x"]),
        (["curl", "-ume:pw"], ["curl", f"-ume:{MARK}"]),
        (["curl", "--user=me:pw"], ["curl", f"--user=me:{MARK}"]),
        (["curl", "-u", "me"], ["curl", "-u", "me"]),
        (["smbclient", "-U", "me%pw"], ["smbclient", "-U", f"me%{MARK}"]),
        (["sshpass", "-p", "pw", "ssh", "h"], ["sshpass", "-p", MARK, "ssh", "h"]),
        (["sshpass", "-ppw"], ["sshpass", f"-p{MARK}"]),
        (["mysql", "-u", "root", "-ppw", "db"], ["mysql", "-u", "root", f"-p{MARK}", "db"]),
        (["docker", "login", "-u", "me", "-p", "pw"], ["docker", "login", "-u", "me", "-p", MARK]),
        (["docker", "run", "-p", "80:80"], ["docker", "run", "-p", "80:80"]),
        (["openssl", "rsa", "-passin", "pass:x"], ["openssl", "rsa", "-passin", MARK]),
        (
            ["mkdir", "-p", "a/b", "key=frame_12", "--tokens", "5"],
            ["mkdir", "-p", "a/b", "key=frame_12", "--tokens", "5"],
        ),
        ([], []),
    ],
)
def test_commands(redactor, given, shown):
    """The values of secret flags, assignments and headers go, and what known programs take after short flags."""
    assert redactor.command(given) == shown
    assert redactor.command(shown) == shown
    assert redactor.count == sum(one.count(MARK) for one in shown)


def test_every_program_with_a_table_is_looked_for():
    """The programs whose flags are known are those that a command line is searched for."""
    tables = (secret_commands._FLAGS, secret_commands._GLUED, secret_commands._LOGINS)
    assert set().union(*tables) == PROGRAMS


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://user:pa:ss@host:8080/a?b=c#d", "https://host:8080/a?b=c#d"),
        ("https://me:p w'd@host/a b.wav", "https://host/a b.wav"),
        ("simplecache::s3://me:pw@bucket/a", "simplecache::s3://bucket/a"),
        ("zip://a::https://me:pw@h/x?sig=1&n=2", f"zip://a::https://h/x?sig={MARK}&n=2"),
        ("abfss://raw@acct.dfs.core.windows.net/a?sig=1", f"abfss://raw@acct.dfs.core.windows.net/a?sig={MARK}"),
        ("https://h/?next=https://me:pw@g/", "https://h/?next=https://g/"),
        (f"s3://bucket/{JWT}.wav", f"s3://bucket/{MARK}"),
        ("data/password=x1.wav", f"data/password={MARK}"),
        ("s3://bucket/a@b:c@d", "s3://bucket/a@b:c@d"),
    ],
)
def test_addresses_lose_their_logins(redactor, given, shown):
    """An address as a file's identity has no user and password: it is the same for everybody who may read it."""
    assert redactor.address(given) == shown
    assert redactor.address(shown) == shown
    assert redactor.text(shown) == shown
    assert (redactor.count > 0) is (given != shown)


def test_values_of_secret_variables_are_hidden_everywhere():
    """What a variable with a secret name holds is found in any text, also as JSON, reprs and addresses write it."""
    secret = 'can"ary\\x/9'
    redactor = Redactor(environ={"HF_TOKEN": secret, "MODE": "fast-and-loud-9"})
    for text in (f"a{secret}b", json.dumps([secret]), repr([secret]), "can%22ary%5Cx%2F9 mode"):
        assert "ary" not in redactor.text(text)
        assert MARK in redactor.text(text)
    assert redactor.text("fast-and-loud-9") == "fast-and-loud-9"
    assert redactor.value("x", [{secret: secret.encode()}]) == [{MARK: MARK.encode()}]
    assert redactor.command(["run", secret]) == ["run", MARK]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("DATABASE_URL", "postgres://me:canary99@h/db", "canary99"),
        ("DATABASE_URL", "postgres://me:can%40ry99@h/db", "can@ry99"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x=1,api-key=canary99", "canary99"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer%20canary99", "canary99"),
        ("DB_PASSWORD", "hunter2", "hunter2"),
        ("DB_PASSWORD", "canary99\n", "canary99"),
        ("MY_KEY_API_KEY", f"-----BEGIN\n{LETTERS}\nx", LETTERS),
    ],
)
def test_secrets_inside_variables(name, value, text):
    """Passwords in addresses, headers for OpenTelemetry's exporters, and the lines of long values are secrets too."""
    assert Redactor(environ={name: value}).text(f"a {text} b") == f"a {MARK} b"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKEN", "short"),
        ("DB_PASSWORD", "postgres"),
        ("API_KEY", "not-set-yet"),
        ("API_KEY", "12345678"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/work/keys/account.json"),
        ("SSH_AUTH_SOCK", "/tmp/ssh-1/agent.12"),
        ("HOME_TOKEN", "~/.cache/token-1"),
        ("AUTH", "https://host/login-9"),
        ("TOKENIZERS_PARALLELISM", "something-long-9"),
        ("MODE_URL", "http://host:8080/a@b"),
        ("TOKEN", "[REDACTED] x1"),
        ("TOKEN", "REDACTED]"),
    ],
)
def test_trivial_values_of_variables_stay(name, value):
    """What is short, a word, a number, a path or an address without a password is hidden nowhere else."""
    text = f"a {value} b"
    assert Redactor(environ={name: value}).text(text) is text


def test_patterns_of_the_user_hide_texts_and_names():
    """A pattern hides what it matches; with = at its end it names what hides its value, whatever that is."""
    redactor = Redactor(["ACME-[0-9]{2,4}", "patient_.*="])
    assert redactor.text("ACME-1234: done, patient_id=17") == f"{MARK}: done, patient_id={MARK}"
    assert redactor.text("Patient_Name: 'Ann B'") == f"Patient_Name: '{MARK}'"
    assert redactor.attributes({"patient_id": 17, "b.PATIENT_x": True, "n": "ACME-99"}) == {
        "patient_id": MARK,
        "b.PATIENT_x": MARK,
        "n": MARK,
    }
    assert redactor.command(["--patient_id", "x", "patient_id=y"]) == ["--patient_id", MARK, f"patient_id={MARK}"]
    assert redactor.text("patients: 3, impatient_id=3") == "patients: 3, impatient_id=3"


def test_exceptions_of_the_user_stay_readable():
    """A name or a text with an exclamation mark is hidden by no rule, whole matches only."""
    redactor = Redactor(["!session_token=", "!demo-[0-9]+", "!AKIA.*"], {"X_TOKEN": "demo-12345"})
    assert redactor.text("session_token=abc1 password=demo-1") == "session_token=abc1 password=demo-1"
    assert redactor.text("AKIAIOSFODNN7EXAMPLE demo-12345") == "AKIAIOSFODNN7EXAMPLE demo-12345"
    assert redactor.attributes({"session_token": "abc", "password": "demo-1"}) == {
        "session_token": "abc",
        "password": "demo-1",
    }
    assert redactor.count == 0
    assert redactor.text("password=demo-1x") == f"password={MARK}"


@pytest.mark.parametrize("pattern", ["(", "[[a]", "(?P<x=", "!(", "(=", "", "!", "="])
def test_what_is_no_pattern_is_passed_over(pattern):
    """A pattern that does not compile, which the settings have told of, hides and shows nothing, and raises nothing."""
    redactor = Redactor([pattern])
    assert redactor.text("abc password=x1 (=") == f"abc password={MARK} (="


def test_every_part_of_a_name_is_looked_for_in_text(redactor):
    """The quick look at a text and the search for names agree on what a secret name has in it."""
    for part in secret_names.PARTS:
        for text in (f"{part}: y1", f"{part.upper()}=y1", f"<{part}>y1</", f"--{part} y1"):
            known = secret_names.kind(part) != secret_names.OPEN
            assert (redactor.text(text) != text) is known, text


def test_own_names_are_no_secrets():
    """None of the attribute names of the conventions hides its value."""
    names = [value for name, value in vars(conventions).items() if name.isupper() and isinstance(value, str)]
    assert [name for name in names if secret_names.kind(name) != secret_names.OPEN] == []


def test_threads_count_together(redactor):
    """What several threads hide is counted in full."""

    def hide():
        for _ in range(50):
            redactor.text("password=x1 token=y2")

    threads = [threading.Thread(target=hide) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert redactor.count == 4 * 50 * 2


PIECES = st.sampled_from(
    [
        *(
            "password",
            "token",
            "key",
            "api_",
            "API key",
            "secret",
            "--",
            "-",
            "=",
            ":",
            "::",
            " ",
            "\t",
            "\n",
            '"',
            "'",
        ),
        *(
            "\\",
            "\\n",
            ",",
            ";",
            "&",
            "?",
            "@",
            "://",
            "https",
            "hunter2",
            "/",
            "<",
            ">",
            "</",
            MARK,
            "[",
            "]",
            "(",
            ")",
        ),
        *("{", "}", "REDACTED", "[RED", "Bearer ", "Basic ", "dXNlcjpw", "sk-ant-", "eyJ", "a" * 28, "A" * 16, "AKIA"),
        *(".", "1", "%20", "%3A%2F%2F", "%40", "cookie", "authorization", "passphrase", "is ", "value", "curl ", "-u"),
        *(
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "canary-env-9!",
            "patient_id",
            "ACME-12",
            "\u2028",
        ),
    ]
)
HOSTILE = st.lists(PIECES, max_size=14).map("".join) | st.text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary() | HOSTILE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HOSTILE, inner, max_size=4),
    max_leaves=8,
)
FULL = Redactor(["patient_id=", "ACME-[0-9]+", "!hunter2"], {"X_TOKEN": "canary-env-9!"})


@settings(deadline=None)
@given(HOSTILE)
def test_redacting_again_changes_no_text(text):
    """What was redacted once is redacted: texts, and addresses."""
    assert FULL.text(FULL.text(text)) == FULL.text(text)
    assert FULL.address(FULL.address(text)) == FULL.address(text)


@settings(deadline=None)
@given(st.lists(HOSTILE, max_size=4))
def test_redacting_again_changes_no_command(arguments):
    """A command line keeps its number of arguments, and is redacted once."""
    shown = FULL.command(arguments)
    assert len(shown) == len(arguments)
    assert FULL.command(shown) == shown


@settings(deadline=None)
@given(VALUES)
def test_redacting_again_changes_no_value(value):
    """No value is refused, and a value that was redacted is the same object afterwards."""
    shown = FULL.value("x", value)
    assert FULL.value("x", shown) is shown


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=20) | st.sampled_from(["password", "api_key", "tokens"]), VALUES, max_size=4))
def test_redacting_again_changes_no_attributes(attributes):
    """The same for the attributes of a record."""
    shown = FULL.attributes(attributes)
    assert shown.keys() == attributes.keys()
    assert FULL.attributes(shown) is shown


@settings(deadline=None)
@given(st.text(LETTERS, min_size=8, max_size=40), HOSTILE)
def test_no_known_secret_survives_its_surroundings(secret, text):
    """The value of a secret variable is found whatever stands around it."""
    redactor = Redactor(environ={"X_API_KEY": f"{secret}1x"})
    assert f"{secret}1x" not in redactor.text(f"{text}{secret}1x{text}")


@pytest.mark.parametrize(
    "seed",
    [
        *(
            "password=",
            "passwordis ",
            "token: ",
            "token='",
            'token="\\',
            "secret=[(",
            "secret={",
            "password=$(",
            "a://",
        ),
        *("://a:", "://a@", "://a:1/", "?a", "?a=%25", "&", "eyJ-", "eyJa.", "sk-ant-", "Bearer ", "Basic A", "\\"),
        *("-----BEGIN PRIVATE KEY-----", "cookie: a", "cookie: a=", "authorization: digest a", "<password>", "a.", "-"),
        *("_", "--password ", "curl -ua:", "passphrase: ", "--passphrase ", "passphrase is ", "/token=a", "token=a,"),
        *("token=)", "hooks.slack.com/services/", "1:AA", "password=self.", "AKIA", "SG.", "@", "{", "\\\\'", "&#;="),
    ],
)
def test_hostile_text_takes_time_in_proportion(redactor, seed):
    """Four times the text takes about four times as long, whatever is repeated in it."""

    def cost(length):
        text = "password=x1 eyJ https://u:p@h/? " + seed * (length // len(seed))
        took = []
        for _ in range(2):
            start = time.process_time()
            redactor.text(text)
            took.append(time.process_time() - start)
        return min(took)

    small = cost(25_000)
    # Far from sixteen times; and a generous sum for what is too quick to be measured.
    assert cost(100_000) <= 9 * small + 0.1


def test_long_texts_are_no_trouble(redactor):
    """Five megabytes of ordinary lines, with one secret in them, are redacted within seconds."""
    line = "2024-05-01 12:00:00 epoch 3: loss=0.123 tokens: 512 key=frame_12 /data/x/y.wav\n"
    text = line * (5_000_000 // len(line))
    start = time.process_time()
    shown = redactor.text(f"{text}password={CANARY}")
    assert time.process_time() - start < 30
    assert shown == f"{text}password={MARK}"


def test_the_common_text_loads_nothing():
    """As long as nothing looks like a secret, no module of the full search is loaded."""
    code = (
        "import sys\nfrom otel_stageio.record.secrets.redaction import Redactor\n"
        "redactor = Redactor((), {'PATH': '/bin', 'HOME': '/x'})\n"
        "redactor.text('Epoch 3: loss=0.1, wrote checkpoints/model_03.pt in 12.3 s')\n"
        "redactor.attributes({'file.path': 'data/x.wav', 'n': 3, 'a': ['--epochs', '3'], 'b': {'c': None}})\n"
        "print([name for name in sorted(sys.modules) if '.secret_' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
