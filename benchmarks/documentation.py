"""Public text to search in, with questions to which the answer is known: documentation that Debian packages.

The packages are downloaded with ``apt-get`` and unpacked; nothing is installed, and nothing of them is in this
repository.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON = "python3-doc"
OTHERS = ("postgresql-doc", "sqlite3-doc", "git-doc", "debian-reference-en", "debian-policy")
"""More text, of other kinds, for searches among many chunks."""

_UNDERLINE = re.compile(r"([-=~^*#])\1{3,}\s*")
_DEFINITION = re.compile(r"^ *\.\. (?:function|method|class|attribute|data|exception):: +([\w.]+)", re.MULTILINE)


class DocumentationMissing(Exception):
    """The packages cannot be had."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the files whose text answers it, or has what is asked for in a line that begins so."""

    text: str
    files: frozenset[str]
    line: re.Pattern[str] | None = None

    def is_answered_by(self, file: str, text: str) -> bool:
        """Tell whether a passage of a file is an answer."""
        return file in self.files and (self.line is None or self.line.search(text) is not None)


def download(packages: Sequence[str], folder: Path) -> list[Path]:
    """Return the folders into which packages were unpacked; raises `DocumentationMissing`."""
    return [_unpacked(package, folder) for package in packages]


def _unpacked(package: str, folder: Path) -> Path:
    target = folder / package
    if not target.exists():
        names = [package, *_documentation_it_stands_for(package)]
        for name in names:
            _run("apt-get", "download", "-q", name, cwd=folder)
        for archive in folder.glob("*.deb"):
            _run("dpkg-deb", "-x", str(archive), str(target), cwd=folder)
            archive.unlink()
    return target


def _documentation_it_stands_for(package: str) -> list[str]:
    """Return the packages of documentation on which one depends that has none of its own: that of a release."""
    depends = re.findall(r"^ +Depends: (\S+)", _run("apt-cache", "depends", package), re.MULTILINE)
    return [name for name in depends if "doc" in name]


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise DocumentationMissing(f"{' '.join(command)}: {said.strip().splitlines()[-1]}") from error


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Files by name, and what is asked of them."""

    files: Mapping[str, str]
    questions: Sequence[Question]
    identifiers: Sequence[Question]


def question_set(python_docs: Path, modules: int, identifiers: int) -> QuestionSet:
    """Return Python's frequently asked questions, each answer a file without its question, and pages of the library.

    ``modules`` pages are taken, evenly spread, and of what is defined in them ``identifiers`` that few files name.
    """
    [sources] = {path.resolve() for path in python_docs.glob("usr/share/doc/python3*/html/_sources")}
    files: dict[str, str] = {}
    questions = []
    for page in sorted((sources / "faq").glob("*.rst.txt")):
        for asked, answer in _answers(page.read_text().splitlines()):
            name = f"faq-{len(files)}.rst"
            files[name] = answer
            questions.append(Question(asked, frozenset({name})))
    pages = sorted((sources / "library").glob("*.rst.txt"))
    library = {page.name: page.read_text() for page in pages[:: max(len(pages) // modules, 1)][:modules]}
    return QuestionSet({**files, **library}, questions, _identifiers(library, identifiers))


def _answers(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the sections of a page whose heading is a question."""
    asked, answer = "", list[str]()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.strip() and _UNDERLINE.fullmatch(below) and len(below) >= len(line):
            if asked.endswith("?") and len(" ".join(answer)) > 80:
                yield asked, "\n".join(answer)
            asked, answer = line.strip(), []
        elif not _UNDERLINE.fullmatch(line):
            answer.append(line)
    if asked.endswith("?"):
        yield asked, "\n".join(answer)


def _identifiers(library: Mapping[str, str], count: int) -> list[Question]:
    names = sorted({name for text in library.values() for name in _DEFINITION.findall(text) if len(name) > 5})
    rare = [name for name in names if sum(text.count(name) for text in library.values()) <= 3]
    return [
        Question(
            name,
            frozenset(file for file, text in library.items() if name in text),
            re.compile(rf"^ *\.\. \w+:: +{re.escape(name)}\b", re.MULTILINE),
        )
        for name in rare[:: max(len(rare) // count, 1)][:count]
    ]


def pages(folders: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the pages of unpacked packages: HTML, and the sources of Python's."""
    for folder in folders:
        for path in sorted(folder.rglob("*.html")) + sorted(folder.rglob("*.rst.txt")):
            if path.is_file() and "_static" not in path.parts:
                yield path.name, path.read_bytes()
