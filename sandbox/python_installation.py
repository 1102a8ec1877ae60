"""The Python that runs inside: where its parts are, so that they can be shown there, and nothing beside them."""

import asyncio
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_QUESTION = """
import json, os, sys, sysconfig
paths = sysconfig.get_paths()
base = sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix})
shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
print(json.dumps({
    "executable": os.path.realpath(sys.executable),
    "packages": [paths["purelib"], paths["platlib"]],
    "library": [base["stdlib"], base["platstdlib"]] + [sysconfig.get_config_var("LIBDIR")] * bool(shared),
}))
"""

_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_ELF_64_LITTLE = b"\x7fELF\x02\x01"
_INTERPRETER = 3  # PT_INTERP: where an executable says which loader it needs


@dataclass(frozen=True, slots=True)
class PythonInstallation:
    """One Python on this machine."""

    executable: Path
    """The file itself, not a link to it."""
    packages: tuple[Path, ...]
    """Folders of installed packages."""
    folders: tuple[Path, ...]
    """All that it needs to read, shared libraries of the system included; none lies in another."""
    loader: Path | None
    """The program that loads it, where it is not linked statically."""

    @classmethod
    async def at(cls, python: str) -> "PythonInstallation":
        """Ask the Python at this path; raises `ValueError` where there is none that answers."""
        try:
            process = await asyncio.create_subprocess_exec(
                python, "-I", "-c", _QUESTION, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={}
            )
        except OSError as error:
            raise ValueError(f"{python!r} cannot be started: {error.strerror}") from error
        output, problem = await process.communicate()
        if process.returncode:
            raise ValueError(f"{python!r} is no Python that works: {problem.decode(errors='replace').strip()[-200:]}")
        return await asyncio.to_thread(cls._of, json.loads(output))

    @classmethod
    def _of(cls, answer: dict[str, object]) -> "PythonInstallation":
        executable = Path(str(answer["executable"]))
        packages, library = (tuple(dict.fromkeys(map(Path, answer[key]))) for key in ("packages", "library"))  # type: ignore[call-overload]
        system = tuple(map(Path, _SYSTEM_LIBRARIES))
        return cls(executable, packages, _outermost((*library, *packages, *system)), _loader_of(executable))


def _outermost(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    there = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]
    return tuple(
        folder for folder in there if not any(folder.is_relative_to(other) for other in there if other != folder)
    )


def _loader_of(executable: Path) -> Path | None:
    """Return the loader that an ELF file names."""
    with executable.open("rb") as file:
        head = file.read(64)
        if not head.startswith(_ELF_64_LITTLE):
            raise ValueError(f"{executable} is no executable for a 64-bit Linux")
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(table)
        entries = file.read(size * count)
        for start in range(0, len(entries), size):
            kind, _flags, offset, _address, _physical, length = struct.unpack_from("<IIQQQQ", entries, start)
            if kind == _INTERPRETER:
                file.seek(offset)
                return Path(os.fsdecode(file.read(length).rstrip(b"\0")))
    return None
