"""The repository's root is the package: what is installed is exactly what is here."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_INSTALLED = {"tests", "benchmarks", "docs", "deploy", "build", "dist"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tree() -> dict[str, Path]:
    """The packages in the tree by their dotted name: folders that have an ``__init__.py``."""
    found = {"lockstitch": ROOT}
    for init in sorted(ROOT.glob("*/**/__init__.py")):
        folder = init.parent.relative_to(ROOT)
        if folder.parts[0] not in NOT_INSTALLED and not folder.parts[0].startswith("."):
            found[".".join(("lockstitch", *folder.parts))] = init.parent
    return found


def test_the_list_of_packages_is_that_of_the_tree():
    assert PROJECT["tool"]["setuptools"]["packages"] == sorted(tree())


def test_folders_with_modules_are_packages():
    """A folder without ``__init__.py`` works from the repository and is missing from the wheel."""
    folders = {
        path.parent.relative_to(ROOT).parts
        for path in ROOT.glob("*/**/*.py")
        if path.relative_to(ROOT).parts[0] not in NOT_INSTALLED and not path.relative_to(ROOT).parts[0].startswith(".")
    }

    assert {".".join(("lockstitch", *parts)) for parts in folders} == set(tree()) - {"lockstitch"}


def test_every_module_is_type_checked():
    mypy = PROJECT["tool"]["mypy"]
    top = {f"lockstitch.{path.stem}" for path in ROOT.glob("*.py") if path.stem != "__init__"}
    packages = {name for name in tree() if name.count(".") == 1}

    assert mypy["modules"] == sorted(top)
    assert mypy["packages"] == sorted(packages)


def test_the_packages_that_workflows_import_load_nothing_by_themselves():
    """The workflow sandbox imports them anew for every run."""
    for name in ("lockstitch", "lockstitch.workflows", "lockstitch.activities", "lockstitch.starter"):
        body = ast.parse((tree()[name] / "__init__.py").read_text()).body

        assert [type(statement) for statement in body] == [ast.Expr], name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The built wheel; the tree is not written to."""
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    copy = target / "source"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", *NOT_INSTALLED))
    subprocess.run([*build, "--wheel-dir", str(target), str(copy)], check=True, capture_output=True, timeout=120)
    [built] = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with what the wheel installs, as it would stand in site-packages."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    """Run a fresh interpreter that finds the installed package and none of the repository."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "NO_COLOR": "1", "COLUMNS": "100"}
    command = [sys.executable, "-P", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_every_module_and_what_they_read(wheel):
    wanted = {
        f"{name.replace('.', '/')}/{path.name}" for name, folder in tree().items() for path in folder.glob("*.py")
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if name.startswith("lockstitch/")}

    data = {"lockstitch/py.typed", "lockstitch/examples/sales.csv"}
    assert "lockstitch/assistants/store/migrations/versions/v0001_first_tables.py" in found
    assert found == wanted | data


def test_the_wheel_names_its_command_its_licence_and_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        entry_points = archive.read(files["entry_points.txt"]).decode()
        metadata = archive.read(files["METADATA"]).decode()

    assert "lockstitch = lockstitch.cli:main" in entry_points
    assert "LICENSE" in files
    assert "Requires-Python: >=3.11" in metadata
    assert all(f"Requires-Dist: {need}" in metadata for need in PROJECT["project"]["dependencies"])


def test_the_starter_loads_neither_openai_nor_what_the_worker_needs(installed, tmp_path):
    script = """
import sys, lockstitch.starter.client
print(lockstitch.__file__)
print(*{name.partition(".")[0] for name in sys.modules})
print(*(name for name in sys.modules if name.startswith("lockstitch.")))
"""
    where, top, own = run(installed, tmp_path, "-c", script).splitlines()

    assert where == str(installed / "lockstitch" / "__init__.py")
    assert not set(top.split()) & {"openai", "sqlalchemy", "alembic", "starlette", "uvicorn", "prometheus_client"}
    assert {name.split(".")[1] for name in own.split()} == {"errors", "starter"}


def test_the_command_works_from_anywhere(installed, tmp_path):
    said = run(installed, tmp_path, "-m", "lockstitch.cli", "--help")

    assert "Usage" in said
    assert all(command in said for command in ("dev", "worker", "serve", "run", "demo"))
    assert list(tmp_path.iterdir()) == []


def test_an_installed_database_upgrades_itself(installed, tmp_path):
    """The migrations are found where they were installed."""
    script = """
import asyncio
from lockstitch.assistants.store.database import Database

async def main():
    async with Database("sqlite:///a.db") as database:
        print(await database.read(lambda it: it.exec_driver_sql("SELECT count(*) FROM threads").scalar() == 0))

asyncio.run(main())
"""
    assert run(installed, tmp_path, "-c", script).strip() == "True"
