"""Citations and links to files are found in an answer however it is cut into pieces."""

import itertools

import pytest

from lockstitch.activities.backends.annotations import AnnotatedText, Sources

SOURCES = Sources(
    passages={"【0:0†notes.txt】": "file-notes", "【0:1†more.txt】": "file-more"},
    files={"/mnt/data/chart.png": "file-chart", "/mnt/data/my table.csv": "file-table"},
)


def annotated(*pieces, sources=SOURCES):
    text = AnnotatedText(sources)
    told = list(itertools.chain.from_iterable([text.feed(piece) for piece in pieces] + [text.close()]))
    assert "".join(piece.text for piece in told) == text.value == "".join(pieces)
    assert [piece.annotation for piece in told if piece.annotation] == text.annotations
    for annotation in text.annotations:
        assert text.value[annotation["start_index"] : annotation["end_index"]] == annotation["text"]
    return text.annotations


CITED = "Two years.【0:0†notes.txt】 Five days.【0:1†more.txt】"
LINKED = "Here: [chart](sandbox:/mnt/data/chart.png), and [table](sandbox:/mnt/data/my%20table.csv)."


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CITED, [("【0:0†notes.txt】", "file-notes"), ("【0:1†more.txt】", "file-more")]),
        (
            LINKED,
            [("sandbox:/mnt/data/chart.png", "file-chart"), ("sandbox:/mnt/data/my%20table.csv", "file-table")],
        ),
        ("See sandbox:/mnt/data/my table.csv", [("sandbox:/mnt/data/my table.csv", "file-table")]),
        ("It is sandbox:/mnt/data/chart.png, as promised.", [("sandbox:/mnt/data/chart.png", "file-chart")]),
        ("Zoë says 日本.【0:0†notes.txt】", [("【0:0†notes.txt】", "file-notes")]),
        ("No such passage 【7:7†notes.txt】 or file (sandbox:/mnt/data/other.png).", []),
        ("Begun 【0:0†no", []),
        ("【【0:0†notes.txt】", [("【0:0†notes.txt】", "file-notes")]),
        ("【over\ntwo lines】 sand sandbox sandbox:/mnt", []),
        ("", []),
    ],
)
def test_what_points_to_something_is_annotated_where_it_stands(text, expected, size):
    pieces = [text[start : start + size] for start in range(0, len(text), size)]

    found = annotated(*pieces)

    assert [(it["text"], it[it["type"]]["file_id"]) for it in found] == expected


def test_each_kind_of_annotation_has_its_own_form():
    citation, link = annotated("A【0:0†notes.txt】(sandbox:/mnt/data/chart.png)")

    assert citation == {
        "type": "file_citation",
        "text": "【0:0†notes.txt】",
        "start_index": 1,
        "end_index": 16,
        "file_citation": {"file_id": "file-notes"},
    }
    assert (link["type"], link["file_path"]) == ("file_path", {"file_id": "file-chart"})


def test_text_is_told_as_soon_as_it_cannot_be_the_beginning_of_anything():
    text = AnnotatedText(SOURCES)

    assert [piece.text for piece in text.feed("plain sand")] == ["plain "]
    assert [piece.text for piece in text.feed("wich 【")] == ["sandwich "]
    assert text.feed("0:0†notes.tx") == []
    assert [piece.text for piece in text.feed("t】!")] == ["【0:0†notes.txt】", "!"]


def test_a_bracket_that_is_never_closed_is_held_back_only_so_long():
    text = AnnotatedText(SOURCES)

    told = text.feed("【" + "x" * 5000)

    assert "".join(piece.text for piece in told) == "【" + "x" * 5000
