"""docker-compose.yml holds to the Compose Specification, and what it says fits the configurations that it mounts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_pydantic import ComposeSpecification
from pydantic import ValidationError

REPO = Path(__file__).resolve().parents[1]
CONFIGS = REPO / "collector-config"
VARIABLE = re.compile(r"\$\{env:(?P<name>\w+):-(?P<default>[^}]*)\}")
README_ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?:`(?P<default>[^`]*)`|none) \|", re.MULTILINE)


def compose() -> dict[str, Any]:
    """Return what docker-compose.yml says."""
    return yaml.safe_load((REPO / "docker-compose.yml").read_text(encoding="utf-8"))


def services() -> dict[str, dict[str, Any]]:
    """Return its services that stay."""
    return {name: service for name, service in compose()["services"].items() if name != "prepare"}


def variables(config: str) -> dict[str, str]:
    """Return the environment variables that a configuration reads, with their defaults."""
    text = (CONFIGS / config).read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found = {(match["name"], match["default"]) for match in VARIABLE.finditer(lines)}
    assert len(dict(found)) == len(found), "a variable has two defaults"
    return dict(found)


def test_is_a_compose_file():
    """The file holds to the specification's schema, which has no room for keys that it does not know."""
    ComposeSpecification(**compose())
    wrong = compose()
    wrong["services"]["jaeger"]["healthcheck"]["intervall"] = "5s"
    with pytest.raises(ValidationError, match="intervall"):
        ComposeSpecification(**wrong)


def test_listens_on_loopback_only():
    """Every port is bound to 127.0.0.1: what is there asks nobody for a password."""
    ports = [port for service in services().values() for port in service["ports"]]
    assert sorted(ports) == ["127.0.0.1:16686:16686", "127.0.0.1:4317:4317", "127.0.0.1:4318:4318"]


def test_images_are_pinned():
    """Every image names a release, to the last number."""
    images = [service["image"] for service in compose()["services"].values()]
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+(-musl)?", image)] == []


@pytest.mark.parametrize("name", sorted(services()))
def test_tells_its_programs_what_they_read(name: str):
    """What a service mounts is there, and its configuration reads every variable that the service sets."""
    service = services()[name]
    mounted = dict(mount.split(":")[:2] for mount in service["volumes"])
    (command,) = service["command"]
    config = command.removeprefix("--config=")
    (source,) = (source for source, target in mounted.items() if target == config)
    assert (REPO / source).is_file()
    assert set(service["environment"]) - {"NO_PROXY"} <= set(variables(Path(source).name))
    volumes = {source for source in mounted if not source.startswith(".")}
    assert volumes <= set(compose()["volumes"])
    data = {target for source, target in mounted.items() if source == name}
    assert data == {value for key, value in service["environment"].items() if key.endswith("_DATA")}


@pytest.mark.parametrize("name", sorted(services()))
def test_health_check_asks_with_what_it_was_lent(name: str):
    """A health check runs the busybox that `prepare` leaves, and asks where the program answers."""
    service = services()[name]
    _, program, *_, address = service["healthcheck"]["test"]
    (health,) = (value for key, value in service["environment"].items() if key.endswith("_HEALTH"))
    assert program == "/tools/busybox"
    assert "tools:/tools:ro" in service["volumes"]
    assert address.startswith(f"http://{health}/")
    assert service["depends_on"] == {"prepare": {"condition": "service_completed_successfully"}}


def test_every_variable_is_in_the_readme():
    """The README's tables name every variable of the configurations, with the default that it has there."""
    text = (CONFIGS / "README.md").read_text(encoding="utf-8")
    for config in ("gateway.yaml", "agent.yaml", "jaeger.yaml"):
        section = text.split(f"## {config}")[1].split("\n## ")[0]
        told = {row["name"]: row["default"] or "" for row in README_ROW.finditer(section)}
        assert told == variables(config), config
