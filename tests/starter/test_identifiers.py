"""Ids: as long and of the letters that the Assistants API uses."""

import re

from lockstitch.starter.identifiers import id_for_key, new_file_id, new_id

FORM = re.compile(r"run_[A-Za-z0-9]{24}")


def test_an_id_is_a_prefix_and_24_letters_and_digits():
    assert all(FORM.fullmatch(new_id("run")) for _ in range(100))


def test_a_file_id_is_a_dash_and_22_letters_and_digits():
    assert all(re.fullmatch(r"file-[A-Za-z0-9]{22}", new_file_id()) for _ in range(100))


def test_ids_differ():
    assert len({new_id("run") for _ in range(2_000)}) == 2_000


def test_a_key_has_one_id_in_every_process_and_release():
    """A caller that starts a run again after an upgrade must mean the same run."""
    assert id_for_key("run", "default", "order-17") == "run_pLooqsYI6iGuH8CSnxQLw2XW"
    assert FORM.fullmatch(id_for_key("run", "default", ""))


def test_keys_that_differ_in_any_part_have_different_ids():
    keys = [
        ("run", "a", "b"),
        ("run", "ab", ""),
        ("run", "a", "c"),
        ("run", "b", "a"),
        ("run", "A", "b"),
        ("run", "ab"),
    ]

    assert len({id_for_key(*key) for key in keys}) == len(keys)


def test_a_prefix_does_not_change_the_rest():
    assert id_for_key("run", "a").removeprefix("run_") == id_for_key("thread", "a").removeprefix("thread_")
