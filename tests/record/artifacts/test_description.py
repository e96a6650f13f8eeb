"""What is said of a path at the moment it is tracked."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from otel_stageio import conventions as names
from otel_stageio.record.artifacts import description
from otel_stageio.record.artifacts.description import Described, JobPaths
from otel_stageio.record.secrets.redaction import Redactor


def sha256(data: bytes) -> str:
    """The checksum of a content as we write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def describe(path: object, **options: Any) -> Described:
    """Describe a path as a stage does that has no secrets of its own."""
    return description.describe(path, address=Redactor().address, **options)


@pytest.fixture
def job(tmp_path) -> JobPaths:
    """Paths of a job in the test's folder."""
    return JobPaths.of(str(tmp_path / "job"))


@pytest.mark.parametrize("value", ["auto", "sha256", "stat", "off", "sha256:" + "ab" * 32, "SHA256:" + "AB" * 32])
def test_policies(value):
    """These values of ``checksum=`` are ours."""
    assert description.is_policy(value)


@pytest.mark.parametrize("value", [None, "", "md5", "Auto", "sha256:ab", "sha256:" + "xy" * 32, b"auto", 1, ["auto"]])
def test_other_values_are_no_policies(value):
    """Any other value is the user's."""
    assert not description.is_policy(value)


def test_paths_inside_the_job_are_relative_to_it(tmp_path):
    """A path inside the job is relative to it, by the job's given name and by its real one; others are absolute."""
    (tmp_path / "real").mkdir()
    (tmp_path / "job").symlink_to("real")
    paths = JobPaths.of(str(tmp_path / "job"))
    for root in ("job", "real"):
        assert paths.shown(str(tmp_path / root / "06_asr/a.json")) == "06_asr/a.json"
        assert paths.shown(str(tmp_path / root)) == "."
    for other in ("jobs/a", "job.txt", "a"):
        assert paths.shown(str(tmp_path / other)) == str(tmp_path / other)
    assert JobPaths.of("/").shown("/a/b") == "a/b"


def test_file(tmp_path, job):
    """A file has size, time of modification and, up to 1 MiB, its checksum at once."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    os.utime(path, ns=(0, 1_234_567_891))
    found = describe(path, job=job, policy="auto")
    assert found.attributes == {
        names.FILE_PATH: str(path),
        names.FILE_MODIFIED: "1970-01-01T00:00:01.234567Z",
        names.ARTIFACT_KIND: "file",
        names.FILE_SIZE: 4,
        names.ARTIFACT_CHECKSUM_METHOD: "sha256",
        names.ARTIFACT_CHECKSUM: sha256(b"RIFF"),
    }
    assert (found.later, found.kind) == (None, "file")


@pytest.mark.parametrize("size", [description.SMALL_FILE, description.SMALL_FILE + 1])
def test_files_up_to_one_mebibyte_are_hashed_in_the_call(tmp_path, job, size):
    """A file of 1 MiB has its checksum at once; that of a larger one is still to be made, and says so."""
    path = tmp_path / "a"
    path.write_bytes(bytes(size))
    found = describe(path, job=job, policy="auto")
    if size == 1 << 20:
        assert found.attributes[names.ARTIFACT_CHECKSUM] == sha256(bytes(size))
        assert found.later is None
    else:
        assert names.ARTIFACT_CHECKSUM not in found.attributes
        assert found.attributes[names.ARTIFACT_CHECKSUM_PROBLEM] == "not computed yet"
        assert found.later().value == sha256(bytes(size))


@pytest.mark.parametrize(("size", "method"), [(10 << 30, "sha256"), ((10 << 30) + 1, "stat")])
def test_auto_hashes_files_up_to_ten_gibibytes(tmp_path, job, size, method):
    """A file of 10 GiB is hashed in full, a larger one gets a stat print, which is never called a checksum."""
    path = tmp_path / "a"
    with open(path, "wb") as file:
        file.truncate(size)
    found = describe(path, job=job, policy="auto")
    assert found.attributes[names.ARTIFACT_CHECKSUM_METHOD] == method
    assert (found.later is not None) == (method == "sha256")
    assert (names.ARTIFACT_STAT_PRINT in found.attributes) == (method == "stat")
    assert names.ARTIFACT_CHECKSUM not in found.attributes


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_policy_stat_off_and_given(tmp_path, job, kind):
    """A stat print, no digest, and the caller's own digest each say what they are."""
    path = tmp_path / "a"
    path.mkdir() if kind == "folder" else path.write_bytes(b"a")
    given = "sha256:" + "AB" * 32
    stat, off, own = (describe(path, job=job, policy=policy).attributes for policy in ("stat", "off", given))
    assert stat[names.ARTIFACT_CHECKSUM_METHOD] == "stat"
    assert str(stat[names.ARTIFACT_STAT_PRINT]).startswith("stat:")
    assert off[names.ARTIFACT_CHECKSUM_METHOD] == "off"
    assert names.ARTIFACT_CHECKSUM not in stat
    assert names.ARTIFACT_CHECKSUM not in off
    assert (own[names.ARTIFACT_CHECKSUM_METHOD], own[names.ARTIFACT_CHECKSUM]) == ("given", given.lower())


def test_folder(tmp_path, job):
    """A folder has a digest over all in it, the number of its files and their bytes; our own folder is not in it."""
    path = tmp_path / "model"
    (path / "deep").mkdir(parents=True)
    (path / "a").write_bytes(b"1")
    (path / "deep/b").write_bytes(b"22")
    before = describe(path, job=job, policy="auto")
    (path / ".stageio").mkdir()
    (path / ".stageio/lock").write_bytes(b"333")
    after = describe(path, job=job, policy="sha256").attributes
    about = before.attributes
    assert (about[names.ARTIFACT_KIND], about[names.ARTIFACT_FILES], about[names.FILE_SIZE]) == ("folder", 2, 3)
    assert about[names.ARTIFACT_CHECKSUM_METHOD] == "sha256-tree"
    assert about[names.ARTIFACT_CHECKSUM] == after[names.ARTIFACT_CHECKSUM]
    (path / "a").write_bytes(b"2")
    assert describe(path, job=job, policy="auto").attributes[names.ARTIFACT_CHECKSUM] != after[names.ARTIFACT_CHECKSUM]


def test_large_folder_is_left_for_later(tmp_path, job, monkeypatch):
    """A folder of many files is not walked in the call; its digest is still to be made, beyond a limit a stat print."""
    monkeypatch.setattr(description, "SMALL_FOLDER", 3)
    monkeypatch.setattr(description, "AUTO_FILES", 5)
    path = tmp_path / "many"
    path.mkdir()
    for number in range(5):
        (path / str(number)).write_bytes(b"x")
    found = describe(path, job=job, policy="auto")
    assert names.ARTIFACT_FILES not in found.attributes
    assert found.attributes[names.ARTIFACT_CHECKSUM_PROBLEM] == "not computed yet"
    digest = found.later()
    assert (digest.method, digest.files, digest.size) == ("sha256-tree", 5, 5)
    (path / "sixth").touch()
    assert found.later().method == "stat"
    assert describe(path, job=job, policy="sha256").later().method == "sha256-tree"
    assert describe(path, job=job, policy="stat").later().method == "stat"


def test_missing(tmp_path, job):
    """What is not there is missing; so is a link to nowhere, and what lies where we may not look."""
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").touch()
    for name in ("a", "link", "", "x" * 300, "file/below"):
        found = describe(name, job=job, policy="auto")
        assert (found.kind, found.print) == ("missing", None)
        assert names.FILE_SIZE not in found.attributes
    assert "File name too long" in str(
        describe("x" * 300, job=job, policy="auto").attributes[names.ARTIFACT_CHECKSUM_PROBLEM]
    )


@pytest.mark.timeout(20)
def test_what_is_no_file_is_never_opened(tmp_path, job):
    """A FIFO, a socket and a device are named for what they are and not waited for; in a folder neither."""
    folder = tmp_path / "odd"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.close()
    kinds = {describe(path, job=job, policy="sha256").kind for path in folder.iterdir()}
    assert kinds == {"fifo", "socket"}
    device = describe("/dev/zero", job=job, policy="auto").attributes
    assert device[names.ARTIFACT_KIND] == "device"
    assert device[names.ARTIFACT_CHECKSUM_PROBLEM] == "is a device"
    assert describe(folder, job=job, policy="sha256").attributes[names.ARTIFACT_FILES] == 2


def test_links_are_files_of_their_own(tmp_path, job):
    """A symlink has its own path and the content of what it points to."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "link").symlink_to("a")
    found = describe(tmp_path / "link", job=job, policy="auto")
    assert found.attributes[names.FILE_PATH] == str(tmp_path / "link")
    assert found.attributes[names.ARTIFACT_CHECKSUM] == sha256(b"a")


def test_names_that_are_not_utf8(tmp_path, job):
    """A name that no UTF-8 can hold is escaped, and its bytes stand beside it."""
    path = os.fsencode(tmp_path / "job") + b"/caf\xe9\n.wav"
    os.mkdir(tmp_path / "job")
    with open(path, "wb"):
        pass
    for given in (path, os.fsdecode(path), Path(os.fsdecode(path))):
        about = describe(given, job=job, policy="auto").attributes
        assert about[names.FILE_PATH] == "caf\\udce9\n.wav"
        assert about[names.ARTIFACT_PATH_BYTES] == b"caf\xe9\n.wav"
        assert about[names.ARTIFACT_CHECKSUM] == sha256(b"")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_names_that_no_file_can_have(tmp_path, job, name):
    """Text that can be no file's name is missing, and what is wrong with it is said."""
    found = describe(name, job=job, policy="auto")
    assert found.kind == "missing"
    assert "Error" in str(found.attributes[names.ARTIFACT_CHECKSUM_PROBLEM])
    assert names.ARTIFACT_PATH_BYTES not in found.attributes


class Odd:
    """An object that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class OddPath(Odd, os.PathLike):
    def __fspath__(self) -> str:
        raise OSError


class Url(os.PathLike):
    """A path to somewhere else, as universal-pathlib and cloudpathlib have them."""

    def __str__(self) -> str:
        return "s3://user:secret@bucket/a b.wav"

    def __fspath__(self) -> str:
        raise AssertionError("this would fetch the file")


@pytest.mark.parametrize("path", [None, 7, Odd(), OddPath(), object(), ["a"]])
def test_what_is_no_path_is_missing(job, path):
    """Anything that is no path is recorded as missing, and nothing raises."""
    assert describe(path, job=job, policy="auto").kind == "missing"


def test_size_is_that_of_what_was_hashed(tmp_path, job, monkeypatch):
    """Of a file that grew between the look at it and the reading, size and checksum are those of the same bytes."""
    path = tmp_path / "growing"
    path.write_bytes(b"one")
    real = description.digests.hash_file

    def late(of: str) -> description.Digest:
        with path.open("ab") as file:
            file.write(b" two")
        return real(of)

    monkeypatch.setattr(description.digests, "hash_file", late)
    found = describe(path, job=job, policy="auto").attributes
    assert (found[names.FILE_SIZE], found[names.ARTIFACT_CHECKSUM]) == (7, sha256(b"one two"))


def test_path_whose_working_directory_is_gone(tmp_path, job, monkeypatch):
    """A relative path stays as it is where the working directory was removed."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    found = describe("a.wav", job=job, policy="auto")
    assert (found.kind, found.attributes[names.FILE_PATH]) == ("missing", "a.wav")


def test_time_beyond_the_calendar(tmp_path, job, monkeypatch):
    """A file whose time no calendar has is recorded without it."""
    (tmp_path / "a").touch()
    real = os.stat

    class Late:
        st_mtime_ns = 10**30

        def __init__(self, found: os.stat_result) -> None:
            self._found = found

        def __getattr__(self, name: str) -> object:
            return getattr(self._found, name)

    monkeypatch.setattr(description.os, "stat", lambda path: Late(real(path)))
    about = describe(tmp_path / "a", job=job, policy="off").attributes
    assert names.FILE_MODIFIED not in about
    assert about[names.FILE_SIZE] == 0


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://bucket/a b.wav", "s3://bucket/a b.wav"),
        ("S3+x.y-z://bucket/", "S3+x.y-z://bucket/"),
        ("https://user:pa:ss@host:8080/a?b=c#d", "https://host:8080/a?b=c#d"),
        ("https://token@host/a@b", "https://host/a@b"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("https://[::1]:8080/a@b", "https://[::1]:8080/a@b"),
        ("s3://bucket/a@b:c@d", "s3://bucket/a@b:c@d"),
        ("postgres://me:pa/ss?w#d@host/db", "postgres://host/db"),
        ("https://h/a?X-Amz-Signature=abc&part=1", "https://h/a?X-Amz-Signature=[REDACTED]&part=1"),
        ("https://h/a?sig=1&SV=2#access_token=3", "https://h/a?sig=[REDACTED]&SV=2#access_token=[REDACTED]"),
        ("file:///tmp/a", "file:///tmp/a"),
        ("simplecache::s3://me:pw@bucket/a", "simplecache::s3://bucket/a"),
        ("zip://a.csv::https://me:pw@host/x.zip", "zip://a.csv::https://host/x.zip"),
    ],
)
def test_remote_addresses(job, given, shown):
    """Anything with a scheme is recorded as it stands, without its credentials, and not looked at."""
    found = describe(given, job=job, policy="auto")
    assert found.attributes == {names.FILE_PATH: shown, names.ARTIFACT_KIND: "remote"}
    assert found.print is None


def test_remote_path_objects(job):
    """A path object of another file system gives its address, and is not asked to fetch anything."""
    assert describe(Url(), job=job, policy="auto").attributes[names.FILE_PATH] == "s3://bucket/a b.wav"


def test_remote_address_with_a_digest_given(job):
    """The digest that the caller knows of a remote address is kept."""
    about = describe("s3://b/a", job=job, policy="sha256:" + "ab" * 32).attributes
    assert about[names.ARTIFACT_CHECKSUM] == "sha256:" + "ab" * 32


def test_text_of_a_class_of_its_own(job):
    """A str of another class (numpy's, a template's) is text like any other."""

    class Text(str):
        __slots__ = ()

    for given in (Text("s3://b/a"), Text("missing")):
        about = describe(given, job=job, policy="auto").attributes
        assert type(about[names.FILE_PATH]) is str


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("abfss://raw@acct.dfs.core.windows.net/a.wav", "abfss://raw@acct.dfs.core.windows.net/a.wav"),
        ("wasbs://box@acct.blob.core.windows.net/a?sig=abc", "wasbs://box@acct.blob.core.windows.net/a?sig=[REDACTED]"),
        ("https://ghp_token@host/x", "https://host/x"),
        ("s3://user:pass@bucket/x", "s3://bucket/x"),
        ("https://host/s?keyword=cat&author=ann", "https://host/s?keyword=cat&author=ann"),
        ("https://host/s?monkey=1&design=2&tokenizer=x", "https://host/s?monkey=1&design=2&tokenizer=x"),
        ("https://host/s?jwt=eyJ&pass=hunter2&q=1", "https://host/s?jwt=[REDACTED]&pass=[REDACTED]&q=1"),
        ("https://host/s?X-Amz-Signature=ab&X-Amz-Date=1", "https://host/s?X-Amz-Signature=[REDACTED]&X-Amz-Date=1"),
        ("https://host/s?AWSAccessKeyId=AK&apiKey=z", "https://host/s?AWSAccessKeyId=[REDACTED]&apiKey=[REDACTED]"),
        (
            "https://host/s?subscription-key=a&AccountKey=b",
            "https://host/s?subscription-key=[REDACTED]&AccountKey=[REDACTED]",
        ),
        ("https://host/s?x=1;token=zz", "https://host/s?x=1;token=[REDACTED]"),
        ("https://host/s?access_token=t&key=k", "https://host/s?access_token=[REDACTED]&key=[REDACTED]"),
    ],
)
def test_only_secrets_leave_an_address(address: str, shown: str):
    """User names, passwords and secret parameters go from a remote address; containers and other parameters stay."""
    described = describe(address, job=JobPaths.of("out"), policy="auto")
    assert described.attributes[names.FILE_PATH] == shown
