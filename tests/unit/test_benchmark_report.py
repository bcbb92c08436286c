"""What `make bench` makes of numbers: the table, the document, the page and the chart."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.benchmarks import report
from tests.benchmarks.report import Row

THROUGHPUT = Row("1", "notices a second", "/s", 2.5, 5, ours=[6000.0, 9000.0, 4000.0], theirs=[2000.0] * 3)
COST = Row(
    "2", "CPU <a delivery>", "us", 2, 1.5, lower=True, ours=[330.0], theirs=[220.0], cpu={"Bode": {"worker": 330.0}}
)
LOST = Row("9a", "lost", "messages", 0, 0, lower=True, ours=[0.0, 1.0, 1.0], note="killed in full flight")


def test_a_row_is_judged_by_the_median_of_its_ratios() -> None:
    assert THROUGHPUT.ratios == [2, 3, 4.5]
    assert (THROUGHPUT.ratio, THROUGHPUT.verdict) == (3, "must")


def test_less_is_better_where_the_row_says_so() -> None:
    assert (COST.ratio, COST.verdict) == (1.5, "stretch")


def test_a_row_without_a_yardstick_is_judged_by_its_own_number() -> None:
    assert (LOST.ratio, LOST.verdict) == (1, "missed")


def test_the_terminal_has_a_line_per_goal_with_median_spread_and_verdict() -> None:
    lines = report.table([THROUGHPUT, LOST]).splitlines()
    assert lines[1].split("  ")[-1] == "must"
    assert "6,000 /s" in lines[1]
    assert "2 - 4.5" in lines[1]
    assert lines[-1] == "9a: killed in full flight"


def test_a_measurement_of_one_goal_leaves_the_others_as_they_were() -> None:
    before = report.merged({"rows": []}, [LOST, THROUGHPUT], {"machine": {"cores": 2}})
    again = Row("1", "notices a second", "/s", 2.5, 5, ours=[1.0], theirs=[1.0])
    after = report.merged(before, [again], {"machine": None, "morning": {"messages": "10"}})
    assert [(row.goal, row.ratio) for row in report.rows_of(after)] == [("1", 1), ("9a", 1)]
    assert after["machine"] == {"cores": 2}
    assert after["morning"] == {"messages": "10"}


def test_sizing_counts_the_database_with_bode_and_leaves_the_other_sides_out() -> None:
    cpu = {"Bode, whole path": {"worker": 600.0, "sweeper": 100.0, "postgresql": 300.0, "box": 5000.0}}
    row = Row("3", "whole path", "/s", 15, 25, ours=[1.0], theirs=[1.0], cpu=cpu)
    sizing = report.sizing(
        report.merged({"rows": []}, [row], {"taken": {"bytes": 2**30 / 1e6, "events": 4, "redis": 2**20}})
    )
    assert sizing["messages an hour per core, placed, noticed and in the log"] == "3,600,000; of it PostgreSQL 30%"
    assert sizing["database, a million messages without documents"] == "1.0 GiB"


def test_the_page_gets_the_numbers_between_its_marks_and_keeps_what_people_wrote() -> None:
    document = report.merged({"rows": []}, [COST, LOST], {"machine": {"cores": 2}, "morning": {"took": 12.5}})
    marks = "".join(f"<!-- {name} -->\nold {name}\n<!-- /{name} -->\nwritten by hand\n" for name in report._PARTS)
    page = report.page(marks, document)
    assert page.count("written by hand") == len(report._PARTS)
    assert [name for name in report._PARTS if f"old {name}" in page] == ["sizing", "log", "console"], "not measured"
    assert "| 9a | lost | 1 messages | - | **1** | 0 - 1 | <= 0 | <= 0 | **missed** |" in page
    assert "| 2 | Bode | 330 | **330** |" in page
    assert "| took | 12.5 |" in page
    assert report.page(page, document) == page


def test_a_page_without_a_place_for_the_numbers_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for goals"):
        report.page("nothing here", {"rows": []})


def test_the_page_in_the_repository_has_all_places() -> None:
    assert report.page(report.PAGE.read_text("utf-8"), {"rows": []})


def test_the_chart_is_a_drawing_with_a_bar_per_goal() -> None:
    drawn = ET.fromstring(report.chart([THROUGHPUT, COST, LOST]))
    texts = ["".join(item.itertext()) for item in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "2  CPU <a delivery>" in texts
    bars = [item.get("fill") for item in drawn.iter("{http://www.w3.org/2000/svg}path") if item.get("fill")]
    assert bars == [report._COLOURS[row.verdict] for row in (THROUGHPUT, COST, LOST)]


def test_the_document_of_an_earlier_run_is_read_back(tmp_path: Path) -> None:
    assert report.read(tmp_path / "bench.json") == {"rows": []}
