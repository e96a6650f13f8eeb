"""The package as users get it: its names, what importing it costs, what its wheel holds, what it depends on."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import otel_stageio

if TYPE_CHECKING:
    from tests.conftest import RunScript

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPO = Path(__file__).resolve().parents[1]
#: Beta packages whose releases go with one release of OpenTelemetry each.
INSTRUMENTATION = ("opentelemetry-distro", "opentelemetry-instrumentation-")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name: str) -> dict[str, Requirement]:
    """Read the pinned requirements of a constraints file, one for each package."""
    lines = (REPO / "tests" / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {one.name: one for one in found}


def asked() -> set[str]:
    """List what the package and its extras ask for."""
    texts = [*PROJECT["dependencies"], *(text for extra in PROJECT["optional-dependencies"].values() for text in extra)]
    return {Requirement(text).name for text in texts} - {PROJECT["name"]}


@pytest.mark.parametrize("name", otel_stageio.__all__)
def test_public_name_can_be_imported(name: str):
    """Each public name is there, is the same when asked for again, and knows the name that it goes by."""
    found = getattr(otel_stageio, name)
    assert getattr(otel_stageio, name) is found
    assert getattr(found, "__name__", name) == name


def test_public_names_are_sorted_and_listed():
    """`__all__` is sorted without repeats, and dir() shows all of it before anything of it is loaded."""
    assert otel_stageio.__all__ == sorted(set(otel_stageio.__all__))
    assert set(otel_stageio.__all__) <= set(dir(otel_stageio))


def test_unknown_name_is_an_attribute_error():
    """A name that the package does not have fails as it does in any module."""
    with pytest.raises(AttributeError, match="module 'otel_stageio' has no attribute 'Stage'"):
        otel_stageio.Stage  # noqa: B018 - asking for it is the test


def test_importing_the_package_loads_nothing(run_script: RunScript):
    """Importing the package loads no room of it and no OpenTelemetry; a name brings only what it needs."""
    ran = run_script("""
        import sys
        import otel_stageio
        print(sorted(name for name in sys.modules if name.startswith(("otel_stageio", "opentelemetry"))))
        otel_stageio.StageIOError
        print(sorted(name for name in sys.modules if name.startswith(("otel_stageio", "opentelemetry"))))
    """)
    assert (ran.stdout.splitlines(), ran.stderr) == (
        ["['otel_stageio']", "['otel_stageio', 'otel_stageio.errors']"],
        "",
    )


def test_star_import_brings_the_public_names(run_script: RunScript):
    """`from otel_stageio import *` brings what `__all__` lists, without a warning."""
    ran = run_script("""
        from otel_stageio import *
        import otel_stageio
        print([name for name in otel_stageio.__all__ if name not in globals()])
    """)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_version_is_said_once():
    """The version of the module, of pyproject.toml and of what is installed are one."""
    assert otel_stageio.__version__ == PROJECT["version"] == importlib.metadata.version("otel-stageio")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheel and list what is in it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=REPO, check=True, capture_output=True, timeout=60)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def test_wheel_holds_the_whole_package(wheel: list[str]):
    """Every module, the schemas and the marker for type checkers are in the wheel, and the licence is."""
    package = REPO / "otel_stageio"
    expected = {
        path.relative_to(REPO).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in wheel if ".dist-info/" not in name} == expected
    assert "otel_stageio/py.typed" in expected
    assert [name for name in expected if re.fullmatch(r"otel_stageio/views/schemas/[\w.-]+\.json", name)]
    assert [name for name in wheel if name.endswith(".dist-info/licenses/LICENSE")]


def test_oldest_constraints_are_the_lower_bounds():
    """`make test-oldest` installs exactly the lower bounds that pyproject.toml promises."""
    promised = [Requirement(text) for text in PROJECT["dependencies"]]
    oldest = pins("constraints-oldest.txt")
    instrumentation = {name: oldest.pop(name) for name in sorted(oldest) if name.startswith(INSTRUMENTATION)}
    assert {str(one.specifier) for one in instrumentation.values()} == {"==0.56b0"}
    assert set(instrumentation) == {
        name for name in asked() | set(pins("instrumentation.txt")) if name.startswith(INSTRUMENTATION)
    }
    assert sorted(oldest) == sorted(one.name for one in promised)
    for one in promised:
        (bound,), (pin,) = one.specifier, oldest[one.name].specifier
        assert (pin.operator, Version(pin.version)) == ("==", Version(bound.version))
        assert (bound.operator, str(oldest[one.name].marker)) == (">=", str(one.marker))


def test_constraints_pin_every_requirement():
    """Whatever an extra asks for is pinned, so that `make test` installs tomorrow what it does today."""
    assert asked() <= set(pins("constraints.txt"))
    assert not set(pins("instrumentation.txt")) & set(pins("constraints.txt"))
