"""The page of a store: complete, self-contained, safe."""

import base64
import hashlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import EVIL, EVIL_TEXT, SCORES, answered, hostile, picture, swept

import results
from results.__main__ import main as results_main
from results.columns import SHARED
from results.files import Root
from results.page.layout import sheet
from results.page.page import page
from results.store import Store

LOG = ["0Z  command: jobs/squares.py -v", "0Z  commit: abc", "1Z  ended well"]


class Read(HTMLParser):
    """What a browser would make of the page: elements, their attributes, the texts inside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()} closes something else"

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    def attributes(self, *names):
        return [found[name] for _, found in self.tags for name in names if name in found]


@pytest.fixture
def store(tmp_path):
    return Store(Root(tmp_path / "store"))


def read(store):
    return Read(page(store).decode())


def test_the_page_holds_state_answer_table_figure_and_origin(store):
    swept(store, best="square 4")
    answered(store)
    store.write_log("squares", "w", "run1", LOG)
    found = read(store)
    assert "points of accuracy that a defence costs on benign images" in found.texts["dd"]
    assert found.texts["pre"] == ["squares, all\nanswer 4.0 [3.0, 5.0]\n"]
    states, scores, runs = found.tables
    assert states == [
        ["study", "state", "cells", "failed", "updated", "best"],
        ["squares", "complete", "2/2", "0", "2026-01-01 00:00:00", "square 4"],
    ]
    assert scores == [  # the value with its interval; counts behind; "n_adv" never varies
        ["table", "qs_af", "def_all", "n_right"],
        ["b", "10", "25.0 [19.5, 31.4]", "50"],
        ["a", "9", "9.5 [6.2, 14.4]", "19"],
        ["none", "-", "100.0 [98.1, 100.0]", "200"],
    ]
    assert found.texts["b"] == ["200"]
    assert SHARED["qs_af"] in found.attributes("title")
    assert runs[1] == ["run1", "abc", "1Z  ended well"]
    (image,) = [a for tag, a in found.tags if tag == "img" and "src" in a]
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == results.png(
        picture()
    )
    assert (image["width"], image["height"]) == ("900", "600")  # 150 dpi
    assert "curve" in image["alt"]
    assert "squares, all" in image["alt"]
    rows = results.load("squares", sweep="w", store=store.root)
    facts = dict(zip(found.texts["dt"], found.texts["dd"], strict=True))
    for name in ("commit", "versions", "hardware", "host"):
        assert facts[name] == rows[name].astype(str).unique()[0]
    assert facts["rows"] == "6 in 2 cells"
    assert found.texts["dd"][7:9] == ["jobs/squares.py -v", "jobs/squares.py --store x"]


def test_a_sweeps_verdict_stands_in_the_contents_and_over_its_answer(store):
    swept(store)
    answered(store)
    assert "verdict" not in read(store).attributes("class")
    answered(store, verdict="4 are square, 3 to 5 held out")
    found = read(store)
    assert found.texts["p"].count("4 are square, 3 to 5 held out") == 2
    assert found.attributes("class").count("verdict") == 2
    assert found.texts["pre"] == ["squares, all\nanswer 4.0 [3.0, 5.0]\n"]
    path = Path(store.root.uri, "answers/w/verdict.txt")
    path.write_text("5 are square\n")
    found = read(store)
    assert "5 are square" not in "".join(found.texts["p"])
    assert any(text.startswith("verdict.txt cannot be used: its b") for text in found.texts["p"])


def test_a_sweep_that_anothers_answer_tells_of_waits_for_none(store):
    for sweep, state in (("w", "complete"), ("more", "complete"), ("stopped", "stopped")):
        swept(store, sweep=sweep, state=state)
    swept(store, sweep="alone", command="jobs/squares.py --seed 1")
    answered(store)
    found = read(store)
    links = found.attributes("href")
    shown = [f"#sweep-{name}" in links for name in ("w", "more", "stopped", "alone")]
    assert shown == [True, False, True, True]
    assert links.count("#sweep-w") == 2
    assert [t for t in found.texts["p"] if t == "Told of in the answer of w"]
    missing = [text for text in found.texts["p"] if text.startswith("No answer is stored.")]
    assert len(missing) == 2


def test_what_is_complete_has_no_open_number(store):
    swept(store)
    (facts,) = store.states()
    for state, cells in (("complete", "2/2"), ("stopped", "2/?")):
        store.write_state("squares", "w", facts | {"state": state, "n_cells": None})
        assert read(store).tables[0][1][2] == cells


names = st.sampled_from(["a", "n_b", "c", "wall_s", "low_e", "f"])
numbers = st.floats(-1e3, 1e3, allow_subnormal=False) | st.just(np.nan)


@settings(max_examples=50)
@given(st.dictionaries(names, st.lists(numbers, min_size=4, max_size=4), min_size=1), st.data())
def test_every_value_of_a_frame_can_be_read_off_its_sheet(columns, data):
    frame = pd.DataFrame(columns)
    if "a" in frame and data.draw(st.booleans()):
        frame["a_low"], frame["a_high"] = frame["a"] - 3, frame["a"] + 0.02
    laid = sheet("any", frame)
    assert len(list(laid.rows)) == len(frame)
    shown = {column.name: column.cells for column in laid.columns}
    assert {*shown, *laid.constants} == set(columns)
    for name in columns:
        for place, value in enumerate(frame[name]):
            text = laid.constants[name] if name in laid.constants else shown[name][place].text
            said = re.findall(r"-?[\d.]+(?:e[+-]\d+)?", text) if text != "-" else []
            theirs = [value, value - 3, value + 0.02] if "[" in text else [value]
            if np.isnan(value):
                assert not said
                continue
            # A width of 3 points is shown to one decimal; six digits else.
            slack = 0.0500001 if "[" in text else 1e-5 * abs(value)
            np.testing.assert_allclose([float(n) for n in said], theirs, rtol=0, atol=slack)
            if name in shown:
                assert float(shown[name][place].key) == value


def test_an_interval_has_two_digits_of_its_width():
    frame = pd.DataFrame({"n": [1, 2], "share": [0.51, 0.5], "low": [0.5, 0.49], "high": 0.53})
    (share, _) = sheet("any", frame).columns
    assert [cell.text for cell in share.cells] == ["0.510 [0.500, 0.530]", "0.500 [0.490, 0.530]"]


def test_the_browser_has_nothing_to_fetch(store):
    swept(store)
    answered(store)
    text = page(store).decode()
    found = Read(text)
    sources = found.attributes("src", "srcset", "data", "poster", "action", "background")
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    links = found.attributes("href", "xlink:href")
    ids = set(found.attributes("id"))
    assert {unquote(link) for link in links} - {"data:,"} == {"#contents", "#sweep-w"}
    assert {"contents", "sweep-w"} <= ids
    for css in found.texts["style"]:
        assert "url(" not in css
        assert "@import" not in css
    assert not re.search(r"https?:", text.replace("http-equiv", ""))


def test_the_policy_allows_the_pages_own_style_and_script_alone(store):
    swept(store)
    found = read(store)
    (policy,) = [a["content"] for tag, a in found.tags if "http-equiv" in a]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for tag in ("style", "script"):
        (inside,) = found.texts[tag]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policy
    assert not found.attributes("style")


def test_hostile_text_stays_text(store):
    hostile(store)
    found = read(store)
    assert len(found.texts["script"]) == 1
    images = [attributes.get("src", "") for tag, attributes in found.tags if tag == "img"]
    assert all(source.startswith("data:") for source in images if source)
    assert not [name for _, given in found.tags for name in given if name.startswith("on")]
    shown = EVIL_TEXT.replace("\ud800", "?")
    assert shown in found.texts["pre"]  # the error
    assert EVIL_TEXT.replace("\ud800", "") in found.texts["pre"]  # the answer
    assert found.texts["p"].count(EVIL_TEXT.replace("\ud800", "")) == 2  # its verdict
    assert shown in found.texts["dd"]  # the command
    assert shown in found.tables[0][1]  # the best
    assert f"{EVIL} {EVIL}" in found.texts["span"]  # a column that never varies
    assert found.tables[1][3][0] == EVIL


def test_sweeps_stand_newest_first_and_what_they_stand_on_last(store):
    swept(store, sweep="old", updated_at="2026-01-02T00:00:00.000000+00:00")
    swept(store, sweep="new", updated_at="2026-01-03T00:00:00.000000+00:00")
    swept(store, sweep="base", updated_at="2026-01-04T00:00:00.000000+00:00", listed=False)
    found = read(store)
    links = [link for link in found.attributes("href") if link != "#contents"][1:4]
    assert links == ["#sweep-new", "#sweep-old", "#preparations"]
    ids = [name for name in found.attributes("id") if re.fullmatch(r"sweep-\w+", name)]
    assert ids == ["sweep-new", "sweep-old", "sweep-base"]


def test_what_is_missing_or_torn_is_told_with_the_command_that_mends_it(store):
    swept(store, n_cells=1)
    for run, flag in (("run1", "--store x"), ("run2", "-v")):  # the state tells of a third
        store.write_log("squares", "w", run, [f"0Z  command: jobs/squares.py {flag}"])
    assert "No answer is stored." in " ".join(read(store).texts["p"])
    answer = results.Answer(text="t", frames={"scores": SCORES})
    list(results.publish(store, "squares", "w", answer))
    assert "jobs/squares.py --store x --figure" in read(store).texts["code"]
    store.put("answers/w/scores.parquet", b"PAR1 torn")
    (rows,) = Path(store.root.uri).glob("rows/*/*/*.parquet")
    rows.write_bytes(rows.read_bytes()[:100])
    found = read(store)
    assert any(text.startswith("scores.parquet cannot be used:") for text in found.texts["p"])
    assert any(text.startswith("cannot be read:") for text in found.texts["dd"])


def test_an_answer_that_was_changed_since_is_told(store):
    swept(store)
    answered(store)
    for name in ("answer.txt", "scores.parquet", "curve.png"):
        path = Path(store.root.uri, "answers/w", name)
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"4.0", b"4.8") if name == "answer.txt" else whole[:-1])
        told = [t for t in read(store).texts["p"] if t.startswith(f"{name} cannot be used: its b")]
        assert len(told) == 1
        path.write_bytes(whole)


def test_cells_count_once_however_they_are_filed(store):
    swept(store, n_cells=3)
    apart = read(store).texts["dd"]
    assert results_main(["--store", store.root.uri, "compact", "w"]) == 0
    merged = read(store).texts["dd"]
    assert merged == apart
    assert "9 in 3 cells" in merged
    (file,) = Path(store.root.uri).glob("rows/*/*/*.parquet")
    file.with_name("compact-0001.parquet").write_bytes(file.read_bytes())
    twice = read(store).texts["dd"]
    assert twice == ["18 in 3 cells" if text == "9 in 3 cells" else text for text in merged]


def test_the_command_writes_the_same_bytes_and_nothing_of_the_environment(store):
    hostile(store)
    pages = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "AWS_SECRET_ACCESS_KEY": "hush" + seed}
        command = [sys.executable, "-m", "results", "--store", store.root.uri, "report"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == "1 of 1 sweeps read\n"
        pages.append((Path(store.root.uri) / "report.html").read_bytes())
    assert pages[0] == pages[1]
    assert b"hush" not in pages[0]


def test_a_store_without_rows_and_one_that_is_no_folder_are_named(store, tmp_path, capsys):
    assert results_main(["--store", store.root.uri, "report"]) == 2
    assert "expected a store with rows" in capsys.readouterr().err
    assert results_main(["--store", "memory://nowhere", "report"]) == 2
    assert "expected --out FILE" in capsys.readouterr().err
    swept(store)
    to = tmp_path / "page.html"
    assert results_main(["--store", store.root.uri, "report", "--out", str(to)]) == 0
    assert to.read_bytes() == page(store)
