"""The dashboards that the chart brings: they are what the code says, and say what their panels are for."""

import re

import pytest

from lockstitch.deploy.dashboards.write import DASHBOARDS, FOLDER, text_of
from lockstitch.tests.dashboards.expressions import all_expressions, dashboards, panels

NAMES = [dashboard.slug for dashboard in DASHBOARDS]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=NAMES)
def test_the_file_of_a_dashboard_is_what_make_dashboards_writes(dashboard):
    assert (FOLDER / f"{dashboard.slug}.json").read_text() == text_of(dashboard)


def test_there_is_no_file_of_a_dashboard_that_is_gone():
    assert sorted(dashboards()) == sorted(NAMES)


def test_every_expression_parses():
    for expression in all_expressions():
        assert expression.parsed is not None, expression.text
        assert "$" not in re.sub(r'"[^"]*"', "", expression.text), expression
        assert "<" not in expression.text, expression  # no filter was left unreplaced


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_shows_and_in_which_unit(name):
    for panel in panels(dashboards()[name]):
        assert re.match(r".{15,}[.?]$", panel["description"], re.DOTALL), panel["title"]
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_titles_and_series_can_be_told_apart(name):
    shown = panels(dashboards()[name])

    assert len({panel["title"] for panel in shown}) == len(shown)
    assert len({panel["id"] for panel in dashboards()[name]["panels"]}) == len(dashboards()[name]["panels"])
    for panel in shown:
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert len(set(legends)) == len(legends), panel["title"]
        assert panel["type"] == "stat" or all(legends), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_overlap_and_stay_within_the_page(name):
    taken: set[tuple[int, int]] = set()
    for panel in dashboards()[name]["panels"]:
        place = panel["gridPos"]
        cells = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", NAMES)
def test_the_first_row_is_of_numbers_that_answer_what_an_operator_asks_first(name):
    first, *others = dashboards()[name]["panels"]
    top = [panel for panel in others if panel["gridPos"]["y"] == 1]

    assert first["title"].endswith("?")
    assert {panel["type"] for panel in top} == {"stat"}
    assert sum(panel["gridPos"]["w"] for panel in top) == 24


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_found_by_a_uid_that_stays_and_leads_to_the_others(name):
    dashboard = dashboards()[name]

    assert dashboard["uid"] == f"lockstitch-{name}"
    assert [link["tags"] for link in dashboard["links"]] == [dashboard["tags"]] == [["lockstitch"]]
    assert dashboard["schemaVersion"] >= 39


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_asked_of_the_data_source_that_was_chosen(name):
    dashboard = dashboards()[name]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    askers = [*panels(dashboard), *(target for panel in panels(dashboard) for target in panel["targets"])]
    queried = [variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"]

    assert all(asker["datasource"] == chosen for asker in (*askers, *queried, *dashboard["annotations"]["list"]))


def test_every_selector_keeps_to_the_installation_that_was_chosen():
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                metrics = re.findall(r"\b(?:lockstitch|temporal)_\w+", target["expr"])
                assert target["expr"].count('namespace=~"$namespace"') == len(metrics), f"{name}: {panel['title']}"
