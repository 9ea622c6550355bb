"""The container files, as far as they can be judged without a container engine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from executions.cli.app import root
from executions.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker/compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)


class Instruction(NamedTuple):
    word: str
    rest: str


def instructions() -> list[Instruction]:
    text = (ROOT / "docker/Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def last_stage() -> list[Instruction]:
    found = instructions()
    start = max(at for at, instruction in enumerate(found) if instruction.word == "FROM")
    return found[start:]


def is_sent_to_the_builder(path: str) -> bool:
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch(path, line.lstrip("!")):
            sent = line.startswith("!")
    return sent


def commands() -> dict[str, list[str]]:
    """Every command that a container of our image runs, by where it is written."""
    image = {word.rest for word in last_stage() if word.word == "CMD"}
    found = {"Dockerfile": json.loads(*image)}
    return found | {name: shlex.split(SERVICES[name]["command"]) for name in OURS}


def health_checks() -> dict[str, str]:
    image = [word.rest for word in last_stage() if word.word == "HEALTHCHECK"]
    found = {"Dockerfile": image[0] if image else ""}
    return found | {name: " ".join(service["healthcheck"]["test"]) for name, service in SERVICES.items()}


def is_pinned(image: str) -> bool:
    _, _, tag = image.partition(":")
    return bool(re.match(r"\d+\.\d+", tag))


def test_images_are_pinned() -> None:
    bases = [word.rest.split()[0] for word in instructions() if word.word == "FROM"]
    images = [service["image"] for service in SERVICES.values()]
    assert [image for image in [*bases, *images] if not is_pinned(image)] == []


def test_our_image_has_the_version_of_the_package() -> None:
    version = re.search(r'^VERSION = "(.+)"', (ROOT / "executions" / "version.py").read_text(), re.MULTILINE)
    assert version
    images = {SERVICES[name]["image"] for name in OURS}
    assert images == {f"executions:{version[1]}"}
    assert f"executions:{version[1]}" in (ROOT / "docker/README.md").read_text()


def test_the_image_runs_as_nobody_special() -> None:
    users = [word.rest for word in last_stage() if word.word == "USER"]
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    copies = [shlex.split(word.rest) for word in instructions() if word.word == "COPY"]
    sources = {path for words in copies if not words[0].startswith("--from") for path in words[:-1]}
    assert sources
    assert [path for path in sources if not (ROOT / path).exists()] == []
    assert [path for path in sources if not is_sent_to_the_builder(path)] == []


def test_the_builder_gets_no_secrets_and_no_history() -> None:
    for path in (".git", ".env", ".venv", ".executions", "docker/flower.env"):
        assert not is_sent_to_the_builder(path)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_asked_for_its_health_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    assert [port for port in SERVICES[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_built_from_our_file(name: str) -> None:
    build = SERVICES[name]["build"]
    context = (COMPOSE_FILE.parent / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_few_rights(name: str) -> None:
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]


@pytest.mark.parametrize("where", sorted(commands()))
def test_commands_are_programs_that_the_image_has(where: str) -> None:
    program, *options = commands()[where]
    scripts = {script.name for script in importlib.metadata.entry_points(group="console_scripts")}
    assert program in scripts
    if program == "celery":
        assert importlib.util.find_spec(options[options.index("-A") + 1])
    else:
        assert root.get_command(click.Context(root), options[0]) is not None


def test_the_page_is_asked_for_by_its_profile_once_there_is_a_user() -> None:
    assert SERVICES["page"]["profiles"] == ["page"]
    assert "--profile page up" in (ROOT / "docker/README.md").read_text()


def test_workers_are_asked_by_a_program_that_the_image_has() -> None:
    scripts = {script.name for script in importlib.metadata.entry_points(group="console_scripts")}
    for where in ("Dockerfile", "worker"):
        asked = re.findall(r"executions-health", health_checks()[where])
        assert asked
        assert set(asked) <= scripts


def test_two_workers_run() -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_settings_are_settings_that_the_library_knows() -> None:
    known = {PREFIX + field.upper() for field in Settings.__dataclass_fields__}
    in_image = " ".join(word.rest for word in instructions() if word.word == "ENV")
    given = set(re.findall(rf"\b{PREFIX}\w+(?==)", in_image))
    given |= {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert given
    assert given <= known


def test_large_values_go_where_all_containers_find_them() -> None:
    env = " ".join(word.rest for word in last_stage() if word.word == "ENV")
    payloads = re.search(rf"{PREFIX}PAYLOADS=(\S+)", env)
    assert payloads
    for name in OURS:
        targets = [volume.partition(":")[2] for volume in SERVICES[name]["volumes"]]
        assert any(payloads[1].startswith(target) for target in targets)


def test_named_volumes_are_declared_and_the_data_is_on_one() -> None:
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert {mount.partition(":")[0] for mount in mounts} == set(COMPOSE["volumes"])
    assert "data:/data" in SERVICES["valkey"]["volumes"]


def test_the_server_keeps_everything() -> None:
    command = shlex.split(SERVICES["valkey"]["command"])
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
