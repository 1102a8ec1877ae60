"""Installs what the Dockerfile installs, without a container engine, and tries it: `make images-check`.

For each image: a new virtual environment, the requirements with their hashes, the wheel that is built from nothing but
what the build gets, then the console script, and each extra that the image promises. Takes minutes; needs a registry.
Arguments are the names of the images to try; without any it is all.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = {
    "lockstitch": ("requirements-image.txt", ["aioboto3", "opentelemetry.sdk.trace"]),
    "lockstitch-code": (
        "requirements-extras.txt",
        ["aioboto3", "opentelemetry.sdk.trace", "kreuzberg", "onnxruntime", "pandas", "sandlock", "usearch.index"],
    ),
}
SETTINGS = {"PATH": os.environ["PATH"], "HOME": "/tmp", "LOCKSTITCH_SANDBOX": "sandlock"}


def run(*command: str | Path, **options: object) -> None:
    """Run a command; ends the program with what it said where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def context(folder: Path) -> Path:
    """Copy what .dockerignore lets through."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for pattern in (line[1:] for line in lines if line.startswith("!")):
        for path in ROOT.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.db", ".env"))
            else:
                shutil.copy(path, folder)
    return folder


def wheel(folder: Path) -> Path:
    """Build the wheel of the project as the Dockerfile does."""
    source = context(folder / "source")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    [built] = folder.glob("*.whl")
    return built


def install(folder: Path, requirements: str, built: Path) -> Path:
    """Make the environment of one image and return where its programs are."""
    run(sys.executable, "-m", "venv", folder)
    pip = [folder / "bin" / "pip", "install", "--disable-pip-version-check"]
    run(*pip, "--require-hashes", "--requirement", folder.parent / "source" / requirements)
    run(*pip, "--no-deps", built)
    return folder / "bin"


def main() -> None:
    """Install and try each image."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "source").mkdir()
        built = wheel(folder)
        for image in sys.argv[1:] or IMAGES:
            requirements, modules = IMAGES[image]
            began = time.monotonic()
            programs = install(folder / image, requirements, built)
            run(programs / "lockstitch", "--help", cwd=folder, env=SETTINGS)
            run(programs / "python", "-c", f"import {', '.join(modules)}", cwd=folder, env=SETTINGS)
            if "sandlock" in modules:
                run(programs / "lockstitch", "sandbox", "check", cwd=folder, env=SETTINGS)
            print(f"{image}: installed and tried in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
