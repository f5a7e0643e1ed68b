"""Test records, comparisons, reports and claims, and runs of notebooks."""

import json
import platform
import re
import subprocess
from dataclasses import replace

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from paperlib import Ensemble, reproduction
from paperlib.__main__ import main
from paperlib._support import determinism, threads
from paperlib._support.files import read_json, write_json
from paperlib.companion.reproduction import Number, Verdict


def figure(shift=0.0):
    drawing, axis = plt.subplots()
    axis.plot(np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2 + shift)
    axis.imshow(np.ones((3, 3)) + shift)
    plt.close(drawing)
    return drawing


def record(folder, value=2.0, shift=0.0, retrained=False, **bounds):
    reproduction.record(
        "01_test",
        folder,
        numbers={"a": Number(value, "a number", **bounds)},
        figures={"01_picture": figure(shift)},
        retrained=retrained,
    )


def failed(verdicts):
    return {(v.kind, v.name) for v in verdicts if not v.passed}


def test_the_same_results_pass(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new", value=2.0 * (1 + 0.9e-6))
    verdicts = reproduction.compare(tmp_path / "new", tmp_path / "stored")
    assert {(v.kind, v.name) for v in verdicts} == {
        ("number", "a"),
        ("figure", "01_picture"),
    }
    assert not failed(verdicts)


def test_a_number_outside_its_tolerance_fails(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new", value=2.0 * (1 + 1.1e-6))
    assert failed(reproduction.compare(tmp_path / "new", tmp_path / "stored")) == {
        ("number", "a")
    }


def test_plotted_data_are_compared_more_closely_than_pixels(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new", shift=1e-5)
    verdicts = reproduction.compare(tmp_path / "new", tmp_path / "stored")
    assert failed(verdicts) == {("figure", "01_picture")}
    assert float(next(v.new for v in verdicts if v.kind == "figure")) < 0.1, (
        "the pixels alone would have passed"
    )


def test_pixels_are_compared_too(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new")
    image = plt.imread(tmp_path / "new" / "01_picture.png")
    plt.imsave(tmp_path / "new" / "01_picture.png", 1 - image[..., :3])
    assert failed(reproduction.compare(tmp_path / "new", tmp_path / "stored")) == {
        ("figure", "01_picture")
    }


@pytest.mark.parametrize("share, passes", [(0.0, True), (0.1, True), (1.0, False)])
def test_a_retrained_picture_may_differ_as_a_training_does(tmp_path, share, passes):
    """Check that lines may move by their width, but not disappear.

    A picture that is partly blended with a blank sheet stands for missing lines.
    """
    record(tmp_path / "stored")
    record(tmp_path / "new", shift=0.02, retrained=True)
    path = tmp_path / "new" / "01_picture.png"
    plt.imsave(path, plt.imread(path)[..., :3] * (1 - share) + share)
    verdict = next(
        v
        for v in reproduction.compare(tmp_path / "new", tmp_path / "stored")
        if v.kind == "figure"
    )
    assert verdict.passed is passes and "from a blank sheet" in verdict.allowed


def test_retrained_numbers_are_compared_by_the_seed_to_seed_variation(tmp_path):
    """Check the allowed factor between trainings.

    The stored value counts as a training. With a standard deviation of ln 1.1 of the logarithms, the factor is
    1.1 ** (3 sqrt 2) = 1.498.
    """
    record(tmp_path / "stored")
    values = [2.0 / 1.1, 2.0 * 1.1]
    write_json(tmp_path / "stored" / "seed_variation.json", {"01_test": {"a": values}})
    for value, retrained, passes in (
        (2.9, True, True), (3.1, True, False), (1.4, True, True), (1.3, True, False), (-2.0, True, False), (2.1, False, False),
    ):  # fmt: skip
        record(tmp_path / "new", value=value, retrained=retrained)
        expected = set() if passes else {("number", "a")}
        assert (
            failed(reproduction.compare(tmp_path / "new", tmp_path / "stored"))
            == expected
        )
    write_json(
        tmp_path / "stored" / "seed_variation.json", {"01_test": {}}
    )  # the number does not depend on the training
    record(tmp_path / "new", value=2.1, retrained=True)
    assert failed(reproduction.compare(tmp_path / "new", tmp_path / "stored")) == {
        ("number", "a")
    }
    (tmp_path / "stored" / "seed_variation.json").unlink()
    assert not failed(reproduction.compare(tmp_path / "new", tmp_path / "stored"))


@pytest.mark.parametrize(
    "content, message",
    [
        (
            [1],
            "seed_variation = [1]: must be an object that maps notebooks to their numbers",
        ),
        (
            {"01": [1]},
            "seed_variation.01 = [1]: must be an object that maps names of numbers to their values",
        ),
        (
            {"01": {"a": 1}},
            "seed_variation.01.a = 1: must be a list of at least two numbers with the same sign",
        ),
        ({"01": {"a": [1, "b"]}}, "seed_variation.01.a[1] = 'b': must be a number"),
        (
            {"01": {"a": [1.0]}},
            "seed_variation.01.a = [1.0]: must be a list of at least two numbers with the same sign",
        ),
        (
            {"01": {"a": [1, -1]}},
            "seed_variation.01.a[1] = -1: must be a number > 0, like another number of its list",
        ),
        (
            {"01": {"a": [0, -1]}},
            "seed_variation.01.a[0] = 0: must be a number other than 0",
        ),
        (
            {"01": {"a\nb": [0, 1]}},
            "seed_variation.01.a\\nb[0] = 0: must be a number > 0, like another number of its list",
        ),
    ],
)
def test_an_invalid_seed_variation_is_refused(tmp_path, content, message):
    write_json(tmp_path / "seed_variation.json", content)
    with pytest.raises(ValueError) as refused:
        reproduction.read_seed_variation(tmp_path)
    assert str(refused.value) == f"{tmp_path / 'seed_variation.json'}: {message}"


def test_seed_to_seed_variation_is_measured(tmp_path):
    """Check that the variation is measured for notebooks with a seed only.

    Numbers that are equal in all runs and numbers that are rounding errors are left out. A second call runs no
    notebook.
    """
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "paperlib").mkdir()
    cells = [
        nbformat.v4.new_code_cell(
            "seed = 0\nretrain = False\nresults = '.'",
            metadata={"tags": ["parameters"]},
        ),
        nbformat.v4.new_code_cell(
            "from paperlib import reproduction as r\n"
            "numbers = {'a': r.Number(1.0 + seed, '', at_most=1e3), 'b': r.Number(2.0, ''), 'c': r.Number(seed, '', atol=1.0)}\n"
            "_ = r.record('01_a', results, numbers=numbers, figures={}, retrained=retrain)"
        ),
    ]
    kernel = {
        "kernelspec": {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
    }
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata=kernel),
        tmp_path / "notebooks" / "01_a.ipynb",
    )
    nbformat.write(
        nbformat.v4.new_notebook(cells=[], metadata=kernel),
        tmp_path / "notebooks" / "02_b.ipynb",
    )
    lines = []
    for _ in range(2):
        found = reproduction.measure_seed_variation(
            tmp_path, tmp_path / "build", 3, log=lines.append
        )
    assert found == {"01_a": {"a": [101.0, 201.0, 301.0]}}
    assert sum("running" in line for line in lines) == 3
    reproduction.record(
        "01_a",
        tmp_path / "figures",
        numbers={"a": Number(150.0, "", at_most=1e3)},
        figures={},
    )
    ((number, values),) = reproduction.guarded_numbers(tmp_path / "figures").values()
    assert number.value == 150.0 and values.tolist() == [101.0, 201.0, 301.0, 150.0]


def test_the_stored_guard_is_used(tmp_path):
    record(tmp_path / "stored", at_most=2.1)
    record(tmp_path / "new", value=2.2, at_most=9.0, retrained=True)
    assert failed(reproduction.compare(tmp_path / "new", tmp_path / "stored")) == {
        ("number", "a")
    }


@pytest.mark.parametrize("field", ["rtol", "at_most", "at_least"])
def test_a_zero_is_a_value_not_a_gap(tmp_path, field):
    number = Number(-1.0, "below zero", **{field: 0.0})
    reproduction.record("01_test", tmp_path, numbers={"a": number}, figures={})
    assert (
        reproduction.read_record(tmp_path / "numbers" / "01_test.json").numbers["a"]
        == number
    )


def test_bars_and_every_member_of_a_collection_are_compared(tmp_path):
    def drawn(heights):
        drawing, axis = plt.subplots()
        axis.bar(range(3), heights, yerr=0.1 * np.array(heights))
        plt.close(drawing)
        return drawing

    for folder, heights in (
        ("stored", [1, 2, 3]),
        ("same", [1, 2, 3]),
        ("other", [1, 2.0001, 3]),
    ):
        reproduction.record(
            "01_test", tmp_path / folder, numbers={}, figures={"bars": drawn(heights)}
        )
    assert not failed(reproduction.compare(tmp_path / "same", tmp_path / "stored"))
    assert failed(reproduction.compare(tmp_path / "other", tmp_path / "stored")) == {
        ("figure", "bars")
    }


def test_no_old_difference_is_shown(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new", shift=0.5)
    reproduction.compare(tmp_path / "new", tmp_path / "stored")
    assert (tmp_path / "new" / "01_picture-failed-diff.png").exists()
    record(tmp_path / "new")
    reproduction.compare(tmp_path / "new", tmp_path / "stored")
    assert not (tmp_path / "new" / "01_picture-failed-diff.png").exists()


def test_missing_items_fail(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new")
    (tmp_path / "stored" / "01_picture.png").unlink()
    assert failed(reproduction.compare(tmp_path / "new", tmp_path / "stored")) == {
        ("figure", "01_picture")
    }
    (tmp_path / "stored" / "numbers" / "01_test.json").unlink()
    assert failed(reproduction.compare(tmp_path / "new", tmp_path / "stored")) == {
        ("record", "01_test")
    }
    with pytest.raises(FileNotFoundError, match="no results to compare"):
        reproduction.compare(tmp_path / "nowhere", tmp_path / "stored")


def test_other_numbers_and_other_plotted_arrays_fail(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new")
    stored, new = (
        (tmp_path / side / "numbers" / "01_test.json") for side in ("stored", "new")
    )
    new.write_text(new.read_text().replace('"a":', '"b":'))
    verdicts = {
        v.name: v.note
        for v in reproduction.compare(tmp_path / "new", tmp_path / "stored")
        if not v.passed
    }
    assert verdicts == {
        "a": "stored, but not in the new results",
        "b": "in the new results, but not stored",
    }
    record(tmp_path / "new")
    content = read_json(stored)
    content["figures"]["01_picture"].pop()
    write_json(stored, content)
    assert failed(reproduction.compare(tmp_path / "new", tmp_path / "stored")) == {
        ("figure", "01_picture")
    }


def test_a_picture_of_another_size_fails(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new")
    path = tmp_path / "new" / "01_picture.png"
    plt.imsave(path, plt.imread(path)[:-1])
    (verdict,) = (
        v
        for v in reproduction.compare(tmp_path / "new", tmp_path / "stored")
        if not v.passed
    )
    assert (
        verdict.name == "01_picture" and verdict.note == "the pictures differ in size"
    )


def test_only_named_notebooks_are_stored(tmp_path):
    record(tmp_path / "new")
    with pytest.raises(FileNotFoundError, match=r"no results of \['02_other'\]; run"):
        reproduction.store(tmp_path / "new", tmp_path / "stored", only=["02_other"])
    with pytest.raises(FileNotFoundError, match="has no results to store; run the"):
        reproduction.store(tmp_path / "nowhere", tmp_path / "stored")
    assert reproduction.store(tmp_path / "new", tmp_path / "stored", only=["01_test"])


def test_report_shows_every_comparison(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new", value=3.0)
    verdicts = reproduction.compare(tmp_path / "new", tmp_path / "stored")
    reproduction.write_report(
        tmp_path / "report.html",
        verdicts,
        tmp_path / "new",
        tmp_path / "stored",
        {"profile": "quick"},
    )
    page = (tmp_path / "report.html").read_text()
    assert "1 passed, 1 failed" in page
    assert page.count("data:image/png;base64") == 2
    assert ">3<" in page and ">2<" in page


def test_the_report_lists_the_machine_and_links_the_notebooks(tmp_path):
    record(tmp_path / "stored")
    record(tmp_path / "new")
    (tmp_path / "new" / "notebooks").mkdir()
    (tmp_path / "new" / "notebooks" / "01_test.html").touch()
    other = Verdict(
        "",
        "networks",
        "signed",
        "0" * 16,
        "1" * 16,
        "identical",
        False,
        "a processor of another kind",
    )
    same = replace(other, name="box_1", new="0" * 16, passed=True, note="identical")
    facts = reproduction.provenance(tmp_path, "standard", 12.3, [same, other])
    verdicts = reproduction.compare(tmp_path / "new", tmp_path / "stored")
    reproduction.write_report(
        tmp_path / "report.html",
        [same, other, *verdicts],
        tmp_path / "new",
        tmp_path / "stored",
        facts,
    )
    page = (tmp_path / "report.html").read_text()
    head = page[: page.index("Networks trained again")]
    assert "2 passed, 0 failed" in head, "networks with other bits are no failure"
    loaded = [
        f"for {pool['architecture']}, threads: {pool['num_threads']}"
        for pool in threadpool_info()
        if "architecture" in pool
    ]
    for text in (*loaded, "standard: ", "1 of 2 trained again are identical to the pretrained networks, bit by bit", "a processor of another kind", "unknown, without git or outside a git checkout", "12 s",
                 determinism.processor(), np.__version__, platform.python_version(), f"cores</th><td>{threads.count()}<"):  # fmt: skip
        assert text in head
    assert page.count('href="new/notebooks/01_test.html"') == 3, (
        "of the notebook, its number and its figure"
    )


def test_the_report_has_the_commit_and_whether_files_differ(tmp_path):
    def git(*words):
        subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e", *words],
            check=True,
            capture_output=True,
        )

    git("init")
    git("commit", "--allow-empty", "-m", "empty")
    assert re.fullmatch(
        "[0-9a-f]{40}, clean",
        reproduction.provenance(tmp_path, "quick", 0, [])["commit"],
    )
    (tmp_path / "file").touch()
    assert reproduction.provenance(tmp_path, "quick", 0, [])["commit"].endswith(
        ", with changes"
    )


def test_storing_makes_the_comparison_pass(tmp_path):
    record(tmp_path / "new", value=7.0)
    names = reproduction.store(tmp_path / "new", tmp_path / "stored")
    assert names == ["01_picture.png", "numbers/01_test.json"]
    assert not failed(reproduction.compare(tmp_path / "new", tmp_path / "stored"))


RECORD = {"notebook": "x", "retrained": False, "numbers": {}, "figures": {}}


@pytest.mark.parametrize(
    "content, message",
    [
        ([], "record = []: must be an object with the fields notebook, retrained, numbers and figures"),
        ({}, "record = {}: must be an object with the fields notebook, retrained, numbers and figures"),
        (RECORD | {"notebook": "a\n"}, "record.notebook = 'a\\n': must be a name without '/', '\\\\', NUL and line breaks, of at least one character"),
        (RECORD | {"retrained": "no"}, "record.retrained = 'no': must be true or false"),
        (RECORD | {"numbers": [1]}, "record.numbers = [1]: must be an object that maps names to numbers"),
        (RECORD | {"numbers": {"a": {"value": 1}}}, "record.numbers.a = {'value': 1}: must be an object with the fields value and meaning"),
        (RECORD | {"numbers": {"a": {"value": True, "meaning": ""}}}, "record.numbers.a.value = True: must be a number"),
        (RECORD | {"numbers": {"a": {"value": 1, "meaning": "", "atol": -1}}}, "record.numbers.a.atol = -1: must be a number >= 0"),
        (RECORD | {"figures": {"a": [[1, "x"]]}}, "record.figures.a[0][1] = 'x': must be a number"),
        (RECORD | {"figures": {"a/b": []}}, "record.figures.a/b = []: must be an entry whose name has no '/', '\\\\', NUL or line break, and at least one character"),
        (RECORD | {"networks": {"a\nb": 3}}, "record.networks.a\\nb = 3: must be text"),
    ],
)  # fmt: skip
def test_invalid_records_are_refused(tmp_path, content, message):
    path = tmp_path / "numbers" / "01_test.json"
    write_json(path, content)
    with pytest.raises(ValueError) as refused:
        reproduction.read_record(path)
    assert str(refused.value) == f"{path}: {message}"


def test_numbers_keep_their_guards(tmp_path):
    assert Number(1.0, "").kept is None
    assert Number(1.0, "", at_most=1.0).kept and Number(1.0, "", at_least=1.0).kept
    assert (
        not Number(1.1, "", at_most=1.0).kept
        and not Number(0.9, "", at_least=1.0, at_most=2.0).kept
    )
    with pytest.raises(ValueError, match="value = nan"):
        Number(float("nan"), "")
    numbers = {
        "better": Number(1.0, "", at_most=1.0),
        "worse": Number(1.1, "", at_most=1.0),
        "free": Number(1.0, ""),
    }
    table = reproduction.record("01_test", tmp_path, numbers=numbers, figures={})
    assert repr(table).split() == (
        "01_test guard better kept worse VIOLATED free none".split()
    )


ERROR = {"below": 0.5, "reason": "Half is useful.", "controls": ["nothing"]}


def run(error=None, nothing=1.0, **others):
    """Return the numbers of a run: an error and its control, which learned nothing."""
    values = {"error": error, "nothing": nothing} | others
    return {
        name: Number(value, f"the {name}")
        for name, value in values.items()
        if value is not None
    }


def case(protocol="SOAP", **criteria):
    return {"protocol": protocol, "criteria": criteria or {"error": ERROR}}


@pytest.fixture
def claimed(tmp_path):
    """Return a function that writes a folder with one claim and the numbers of a run."""

    def write(numbers=None, **changes):
        entry = {
            "id": "C1",
            "text": "It fits.",
            "notebook": "03_fit",
            "cases": [case()],
        }
        content = {"paper": "https://doi.org/10.1000/1", "claims": [entry | changes]}
        (tmp_path / "claims.json").write_text(json.dumps(content))
        if numbers is not None:
            reproduction.record("03_fit", tmp_path, numbers=numbers, figures={})
        return tmp_path

    return write


def test_claims_read_their_verdict_from_the_records(claimed):
    folder = claimed()
    [claim] = reproduction.write_claims(folder)
    [entry] = read_json(folder / "claims.json")["claims"]
    assert claim.verdict == entry["verdict"] == "not yet shown"
    assert entry["cases"][0]["criteria"] == {"error": ERROR}
    for value, verdict in ((0.1, "holds"), (0.5, "does not hold")):
        folder = claimed(run(value))
        [claim] = reproduction.write_claims(folder)
        assert claim.because == (
            f"{verdict}. SOAP: {verdict}: "
            f"the error: {value} (threshold < 0.5, controls 1)"
        )
        [entry] = read_json(folder / "claims.json")["claims"]
        filled = {"meaning": "the error", "value": value, "control_values": [1.0]}
        assert entry["cases"][0]["criteria"]["error"] == ERROR | filled
        [read] = reproduction.read_claims(folder)
        assert entry["verdict"] == verdict == read.said == read.cases[0].said
    # Values of an earlier run are removed if the number is no longer recorded.
    reproduction.record("03_fit", folder, numbers=run(), figures={})
    reproduction.write_claims(folder)
    [entry] = read_json(folder / "claims.json")["claims"]
    assert entry["cases"][0]["criteria"] == {"error": ERROR}


@pytest.mark.parametrize(
    "adam, soap, verdict",
    [
        (0.1, 0.2, "holds"),
        (0.1, 0.9, "holds in part"),
        (0.9, 0.8, "does not hold"),
        (None, 0.9, "not yet shown"),
    ],
)
def test_a_claim_holds_in_part_if_some_of_its_cases_hold(claimed, adam, soap, verdict):
    cases = [case("Adam", adam=ERROR), case("SOAP", soap=ERROR)]
    [claim] = reproduction.write_claims(claimed(run(adam=adam, soap=soap), cases=cases))
    assert claim.verdict == verdict


@pytest.mark.parametrize("better, passes", [(0.9, True), (1.0, False), (1.1, False)])
def test_a_case_holds_if_all_its_criteria_pass(claimed, better, passes):
    more = {"above": better, "reason": "more", "controls": ["nothing"]}
    folder = claimed(
        run(0.1, nothing=0.9, more=1.0), cases=[case(error=ERROR, more=more)]
    )
    [claim] = reproduction.write_claims(folder)
    assert claim.verdict == ("holds" if passes else "does not hold")


def test_a_notebook_shows_its_claims_by_the_numbers_of_its_run(claimed):
    """Check that stored numbers are not read, and that rows have distinct names."""
    cases = [case(error=ERROR, other=ERROR), case("Adam", later=ERROR)]
    folder = claimed(run(0.9, other=0.9), cases=cases)
    numbers = run(0.123, other=0.456) | {"other": Number(0.456, "the error")}
    table = reproduction.decide("03_fit", numbers, folder)
    assert table.columns == ("value", "threshold", "controls", "passed", "case")
    assert table.rows == {
        "C1, SOAP: the error": ("0.123", "< 0.5", "1", "yes", "holds"),
        "C1, SOAP: the error (other)": ("0.456", "< 0.5", "1", "yes", "holds"),
        "C1, Adam: later": ("-", "< 0.5", "1", "-", "not yet shown"),
    }
    with pytest.raises(ValueError) as refused:
        reproduction.decide("04_none", numbers, folder)
    assert str(refused.value) == (
        f"notebook = '04_none': must have a claim in {folder / 'claims.json'}"
    )


def test_a_control_that_passes_is_an_error(claimed, tmp_path, capsys):
    """Check the error in one line, wherever a claim is decided."""
    folder = claimed(run(0.1))
    line = "C1: error < 0.5: control nothing = 0.4 passes; controls must fail the threshold"
    reproduction.write_claims(folder)
    before = (folder / "claims.json").read_text()
    with pytest.raises(reproduction.ControlError) as refused:
        reproduction.decide("03_fit", run(0.1, nothing=0.4), folder)
    assert str(refused.value) == f"{folder / 'claims.json'}: {line}"
    results = tmp_path / "results"
    numbers = run(0.1, nothing=0.4)
    reproduction.record("03_fit", results, numbers=numbers, figures={})
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "figures").symlink_to(folder)
    arguments = ["--root", str(tmp_path / "root"), "--results", str(results)]
    assert main(["check", *arguments]) == 1
    assert f"FAILED 03_fit claim C1: stored holds, holds, new holds. SOAP: holds: the error: 0.1 (threshold < 0.5, controls 0.4), allowed the same verdicts. {line}\n" in capsys.readouterr().out  # fmt: skip
    assert main(["store", *arguments]) == 1
    path = tmp_path / "root" / "figures" / "claims.json"
    assert capsys.readouterr().err == f"paperlib store: {path}: {line}\n"
    assert (folder / "claims.json").read_text() == before


def test_a_claim_is_worthless_if_its_number_is_its_own_control(claimed):
    itself = ERROR | {"controls": ["error"]}
    with pytest.raises(reproduction.ControlError, match="control error = 0.1 passes"):
        reproduction.write_claims(claimed(run(0.1), cases=[case(error=itself)]))


def test_verdicts_are_written_to_a_readme(claimed, tmp_path):
    """Check that only the rows that begin with the id of a claim are changed."""
    readme = tmp_path / "README.md"
    cases = [case("Adam | 5, values", adam=ERROR), case("SOAP, values", error=ERROR)]
    for adam, verdict, shown in (
        (0.9, "does not hold", "values. Adam \\| 5; SOAP"),
        (0.1, "holds in part", "values. Adam \\| 5: holds; SOAP: does not hold"),
    ):
        readme.write_text(
            "before\n| C1 | old |\n| C10 | other |\n| A100 | 3 s |\nafter\n| C1 | last |"
        )
        folder = claimed(run(0.6, adam=adam), text="It | fits.", cases=cases)
        reproduction.write_claims(folder, readme)
        row = f"| C1 | It \\| fits. | [03](notebooks/03_fit.ipynb) | {verdict} | {shown} |"
        assert (
            readme.read_text()
            == f"before\n{row}\n| C10 | other |\n| A100 | 3 s |\nafter\n{row}"
        )


def test_a_readme_of_another_encoding_is_refused(claimed, tmp_path):
    (tmp_path / "README.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="README.md: must be a file of UTF-8 text$"):
        reproduction.write_claims(claimed(), tmp_path / "README.md")


def test_a_claim_whose_verdict_changes_fails(claimed, tmp_path):
    """Check the comparison of the claim and of each of its cases."""
    cases = [case("Adam", adam=ERROR), case("SOAP", error=ERROR)]
    folder, results = claimed(run(0.3, adam=0.6), cases=cases), tmp_path / "results"
    reproduction.write_claims(folder)
    for adam, soap, passed in (
        (0.7, 0.4, True), (0.7, 0.6, False), (0.4, 0.4, False), (0.4, 0.6, False), (None, 0.4, False),
    ):  # fmt: skip
        numbers = run(soap, adam=adam)
        reproduction.record("03_fit", results, numbers=numbers, figures={})
        [verdict] = [
            v for v in reproduction.compare(results, folder) if v.kind == "claim"
        ]
        assert verdict.passed == passed
        assert verdict.stored == "holds in part, does not hold, holds"
    assert verdict.new.startswith("not yet shown")
    # A verdict that was written by hand fails, too.
    path = folder / "claims.json"
    path.write_text(path.read_text().replace("holds in part", "holds"))
    reproduction.record("03_fit", results, numbers=run(0.3, adam=0.6), figures={})
    assert ("claim", "C1") in failed(reproduction.compare(results, folder))


def test_the_report_shows_each_case_of_a_claim(claimed, tmp_path):
    cases = [case("Adam", adam=ERROR), case("SOAP", error=ERROR)]
    folder = claimed(run(0.3, adam=0.6), cases=cases)
    reproduction.write_claims(folder)
    page = tmp_path / "report.html"
    verdicts = reproduction.compare(folder, folder)
    reproduction.write_report(page, verdicts, folder, folder, {})
    text = re.sub(r"(\s*<[^>]*>\s*)+", "|", page.read_text())
    assert "|C1|holds in part|It fits. Notebook 03_fit." in text
    for cells in (
        ["Adam", "does not hold", "the adam", "0.6"],
        ["SOAP", "holds", "the error", "0.3"],
    ):
        row = [*cells, "&lt; 0.5", "the nothing: 1", "Half is useful."]
        assert "|".join(row) in text


CRITERION = "claims.claims[0].cases[0].criteria.error"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"reason": None}, "{'below': 0.5, 'controls': ['nothing']}: must be an object with the field reason, text that explains the threshold"),
        ({"controls": None}, "{'below': 0.5, 'reason': 'Half is useful.'}: must be an object with the field controls, a list of numbers that must fail the threshold"),
        ({"below": None}, "{'reason': 'Half is useful.', 'controls': ['nothing']}: must be an object with exactly one of below and above, the threshold"),
        ({"above": 0.1}, "{'below': 0.5, 'reason': 'Half is useful.', 'controls': ['nothing'], 'above':...: must be an object with exactly one of below and above, the threshold"),
        ({"reason": " "}, ".reason = ' ': must be text of at least one word"),
        ({"controls": []}, ".controls = []: must be a list of at least one name of a number that must fail the threshold, each once"),
        ({"controls": "nothing"}, ".controls = 'nothing': must be a list of at least one name of a number that must fail the threshold, each once"),
        ({"below": "0.5"}, ".below = '0.5': must be a number"),
    ],
)  # fmt: skip
def test_a_threshold_without_a_reason_or_a_control_is_refused(
    claimed, changes, message
):
    entry = {
        key: value for key, value in (ERROR | changes).items() if value is not None
    }
    folder = claimed(run(0.1), cases=[case(error=entry)])
    with pytest.raises(ValueError) as refused:
        reproduction.write_claims(folder)
    equals = "" if message.startswith(".") else " = "
    assert str(refused.value) == (
        f"{folder / 'claims.json'}: {CRITERION}{equals}{message}"
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cases": []}, "cases = []: must be a list of at least one case"),
        ({"cases": [case() | {"criteria": {}}]}, "cases[0].criteria = {}: must be an object that maps the name of at least one number to its criterion"),
        ({"cases": [case("")]}, "cases[0].protocol = '': must be text of at least one word"),
        ({"verdict": "true"}, "verdict = 'true': must be one of 'holds', 'holds in part', 'does not hold', 'not yet shown'"),
        ({"cases": [case() | {"verdict": "holds in part"}]}, "cases[0].verdict = 'holds in part': must be one of 'holds', 'does not hold', 'not yet shown'"),
        ({"notebook": "../03"}, "notebook = '../03': must be the name of a notebook, such as 03_training_mlps"),
    ],
)  # fmt: skip
def test_a_wrong_claims_file_is_refused_in_a_line(claimed, changes, message):
    folder = claimed(run(0.1), **changes)
    with pytest.raises(ValueError) as refused:
        reproduction.write_claims(folder)
    assert str(refused.value) == f"{folder / 'claims.json'}: claims.claims[0].{message}"


CELLS = """
from paperlib import Ensemble, reproduction
numbers = {{"a": reproduction.Number({value}, "a number")}}
reproduction.record("{name}", results, numbers=numbers, figures={{}})
"""


def checkout(root, **values):
    """Write a checkout of small notebooks: name -> the value that the notebook records, or code that fails."""
    (root / "notebooks").mkdir(parents=True, exist_ok=True)
    (root / "paperlib").mkdir(exist_ok=True)
    for name, value in values.items():
        notebook = nbformat.v4.new_notebook(
            metadata={
                "kernelspec": {
                    "name": "python3",
                    "display_name": "",
                    "language": "python",
                }
            }
        )
        notebook.cells = [
            nbformat.v4.new_markdown_cell(f"# Title of {name}"),
            nbformat.v4.new_code_cell(
                'results = "../build/results"  # folder',
                metadata={"tags": ["parameters"]},
            ),
            nbformat.v4.new_code_cell(CELLS.format(name=name, value=value)),
        ]
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    return root


def test_reproduce_check_and_store_from_the_command_line(tmp_path, capsys, monkeypatch):
    root = checkout(tmp_path, **{"01_one": "1.5", "02_two": "2.5"})
    arguments = ["--root", str(root)]
    assert main(["list", *arguments]) == 0
    assert "02_two: Title of 02_two\n    parameters: results" in capsys.readouterr().out
    assert main(["reproduce", "--profile", "quick", *arguments]) == 1, (
        "nothing is stored yet"
    )
    assert (root / "build" / "report.html").exists()
    results = ["--results", str(root / "build" / "quick")]
    assert main(["store", *arguments, *results]) == 0
    assert main(["check", *arguments, *results]) == 0
    capsys.readouterr()
    assert main(["reproduce", "--profile", "quick", *arguments]) == 0
    assert capsys.readouterr().out.count("finished by an earlier run") == 2
    checkout(tmp_path, **{"02_two": "2.6"})
    assert main(["reproduce", "--profile", "quick", *arguments]) == 1
    out = capsys.readouterr().out
    assert "01_one: finished" in out and "[1/1] 02_two: running" in out
    assert "FAILED 02_two number a: stored 2.5, new 2.6" in out
    assert main(["reproduce", "--only", "01", "--profile", "quick", *arguments]) == 0


def test_an_interrupted_run_goes_on(tmp_path, capsys):
    root = checkout(tmp_path, **{"01_one": "1.5", "02_two": "1/0"})
    assert main(["reproduce", "--profile", "quick", "--root", str(root)]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    checkout(tmp_path, **{"02_two": "2.5"})
    main(["reproduce", "--profile", "quick", "--root", str(root)])
    out = capsys.readouterr().out
    assert "01_one: finished by an earlier run" in out and "02_two: running" in out


def test_kernels_use_socket_files(tmp_path, capfd):
    """Check that kernels communicate through files.

    If kernels start at the same time on ports, one may lose its port to another and die. This happened in CI.
    """
    value = "float(__import__('ipykernel').get_connection_info(unpack=True)['transport'] == 'ipc')"
    root = checkout(tmp_path, **{"01_one": value})
    reproduction.run_notebook(
        root / "notebooks" / "01_one.ipynb",
        tmp_path / "out.ipynb",
        {"results": str(tmp_path)},
    )
    assert (
        reproduction.read_record(tmp_path / "numbers" / "01_one.json")
        .numbers["a"]
        .value
        == 1.0
    )
    assert "Title of 01_one" in (tmp_path / "out.html").read_text()
    assert capfd.readouterr().err == ""


def test_a_notebook_runs_after_those_whose_networks_it_reads(tmp_path, capsys):
    """Check the order of notebooks in a full run.

    Notebook 01 reads networks that notebook 02 trains, so choosing 01 alone runs both, 02 first.
    """
    reading = "float(open(results + '/made').read())"
    root = checkout(
        tmp_path,
        **{"01_one": reading, "02_two": "open(results + '/made', 'w').write('1')"},
    )
    path = root / "notebooks" / "01_one.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.metadata["paperlib"] = {"reads": ["02"], "minutes": 5}
    notebook.cells[1].source += "\nretrain = False"
    nbformat.write(notebook, path)
    main(["reproduce", "--profile", "full", "--only", "01", "--root", str(root)])
    lines = [line.split(" in ")[0] for line in capsys.readouterr().out.splitlines()[:4]]
    assert lines == [
        "[1/2] 02_two: running",
        "02_two: done",
        "[2/2] 01_one: running",
        "01_one: done",
    ]
    # A notebook is out of date if its input has changed, even if the notebook itself
    # has not.
    checkout(tmp_path, **{"02_two": "open(results + '/made', 'w').write('11')"})
    main(["reproduce", "--profile", "full", "--only", "01", "--root", str(root)])
    assert "[2/2] 01_one: running" in capsys.readouterr().out
    notebook.metadata["paperlib"] = {"reads": ["01_one"]}
    nbformat.write(notebook, path)
    assert (
        main(["reproduce", "--profile", "full", "--only", "01", "--root", str(root)])
        == 2
    )
    assert (
        "01_one.ipynb: `reads` leads back to the notebook itself"
        in capsys.readouterr().err
    )


def test_unknown_parameters_and_notebooks_are_refused(tmp_path, capsys):
    root = checkout(tmp_path, **{"01_one": "1.5"})
    path = root / "notebooks" / "01_one.ipynb"
    with pytest.raises(
        ValueError,
        match="^01_one.ipynb: parameter = 'depht': must be one of 'results'$",
    ):
        reproduction.run_notebook(path, tmp_path / "out.ipynb", {"depht": 1})
    with pytest.raises(FileNotFoundError, match="none.ipynb: no such notebook"):
        reproduction.run_notebook(tmp_path / "none.ipynb", tmp_path / "out.ipynb", {})
    assert main(["reproduce", "--only", "09", "--root", str(root)]) == 2
    assert capsys.readouterr().err == (
        f"paperlib reproduce: only = '09': must begin the name of a notebook in {root / 'notebooks'}; the notebooks are 01\n"
    )
    assert main(["reproduce", "--root", str(tmp_path / "nowhere")]) == 2
    error = f"paperlib reproduce: {tmp_path / 'nowhere' / 'notebooks'}: must have a notebook with a name such as 01_name.ipynb\n"
    assert capsys.readouterr().err == error
    with pytest.raises(ValueError, match="profile = 'slow': must be one of"):
        reproduction.reproduce(root, tmp_path / "build", profile="slow")


def test_an_unwritable_build_folder_is_one_line(tmp_path, capsys):
    root = checkout(tmp_path, **{"01_one": "1.5"})
    (tmp_path / "file").write_text("")
    assert (
        main(
            [
                "reproduce",
                "--profile",
                "quick",
                "--root",
                str(root),
                "--build",
                str(tmp_path / "file"),
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert (
        error.startswith("paperlib reproduce: ")
        and error.count("\n") == 1
        and "file" in error
    )


@pytest.mark.parametrize("command", ["list", "reproduce", "check", "store"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"example: python -m paperlib {command}" in " ".join(
        capsys.readouterr().out.split()
    )


def test_training_from_the_command_line(tmp_path, capsys):
    pytest.importorskip("tensorflow")
    config = tmp_path / "config.json"
    config.write_text(
        '{"d": 4, "hidden": [8], "sampling": "signed", "samples": 64, "batch": 32, "steps": 4, "warmup": 0, "seeds": [3]}'
    )
    assert (
        main(["train", str(config), "--orders", "2", "--output", str(tmp_path / "out")])
        == 0
    )
    assert (
        "order_2.npz: order 2 learned with a relative error of"
        in capsys.readouterr().out
    )
    assert Ensemble.load(tmp_path / "out" / "order_1.npz").seeds == (3,)
    for content, message in (
        ('{"depht": 1}', "fields among d, hidden, "),
        ("[]", "must be an object"),
        ("{", "must be valid JSON"),
    ):
        config.write_text(content)
        assert main(["train", str(config)]) == 2
        assert message in capsys.readouterr().err
