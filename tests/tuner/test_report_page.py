"""The page as a browser shows it: a real sweep's, with example windows, and one whose folder is full of tricks."""

import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
from browser import NARROW, WIDE, browser, opened
from servers import s3, s3_server  # noqa: F401
from test_report import HOSTILE, data_of, made_trial, write_sweep

from data_prep.remote_corpora import CACHE
from data_prep.storage import Storage
from trainables.metrics import TOLERANCE_FRAMES
from tuner.cli import main
from tuner.report import report


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def page_of_many(tmp_path_factory):
    """Thirty trials made up, two of which went wrong."""
    folder = tmp_path_factory.mktemp("many")
    records = [made_trial(of) for of in range(1, 29)]
    records += [made_trial(29, epochs=0, state="failed", error="ValueError: NaN"), made_trial(30, attempts=2)]
    write_sweep(folder, records)
    return report("made", storage=str(folder)).path


def test_examples_are_what_the_best_checkpoint_makes_of_validation_windows(swept, tmp_path):
    """The finished miniature sweep: its own corpus, and each mark where the data and the peak rule put it."""
    made = report("first", storage=swept.options.storage, out=tmp_path / "page.html")
    examples = data_of(made.path)["examples"]
    assert made.note == ""
    assert made.examples == len(examples) > 0
    assert examples[0]["what"] == "best"
    assert [of["score"] for of in examples] == sorted((of["score"] for of in examples), reverse=True)
    for example in examples:
        frames = round(example["seconds"] * example["frames_per_s"])
        assert example["picture"].startswith("data:image/png;base64,iVBOR")
        assert example["onsets"] == sum(len(row["annotated"]) + len(row["missed"]) for row in example["rows"])
        for row in example["rows"]:
            assert len(row["activation"]) == frames
            assert len(row["hits"]) == len(row["annotated"])
            apart = np.abs(np.subtract(row["hits"], row["annotated"])) * example["frames_per_s"]
            assert (apart <= TOLERANCE_FRAMES + 1e-6).all()
            heights = [
                row["activation"][round(at * example["frames_per_s"])] for at in row["hits"] + row["false_alarms"]
            ]
            assert all(height >= row["threshold"] - 1e-3 for height in heights)
    states = {of["number"]: of["state"] for of in data_of(made.path)["trials"]}
    assert states == {of.number: of.state for of in swept.result.trials}
    assert sum(of["seconds"]["forward"] for of in data_of(made.path)["profile"]["trials"]) > 0


def test_examples_are_left_out_where_the_corpus_is_another(swept, tmp_path):
    folder = shutil.copytree(f"{swept.options.storage}/first", tmp_path / "first")
    content = json.loads((folder / "sweep.json").read_text())
    content["manifests"]["mdb"] = "0" * 64
    (folder / "sweep.json").write_text(json.dumps(content))
    assert "was prepared anew" in report("first", storage=str(tmp_path)).note
    assert "is not prepared" in report("first", storage=str(tmp_path), shards=tmp_path / "no").note
    assert "as --no-examples asked" in report("first", storage=str(tmp_path), examples=False).note


def test_no_corpus_is_fetched_from_a_store_unless_asked(swept, shards, s3, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    folder = shutil.copytree(f"{swept.options.storage}/first", tmp_path / "first")
    content = json.loads((folder / "sweep.json").read_text())
    content["options"]["shards"] = f"{s3.uri}/shards"
    (folder / "sweep.json").write_text(json.dumps(content))
    (Storage.at(s3.uri) / "shards").put("mdb", shards / "mdb", last="manifest.json")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # it is not asked
        made = report("first", storage=str(tmp_path))
    assert made.note == (
        f"Left out: mdb in {s3.uri}/shards would have to be fetched to this machine first; --shards {s3.uri}/shards "
        "does that."
    )
    assert not (tmp_path / "cache").exists()
    assert main(["report", "first", "--storage", str(tmp_path), "--shards", f"{s3.uri}/shards"]) == 0
    assert "MB of corpus mdb" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # what was fetched is read here
        assert report("first", storage=str(tmp_path)).examples > 0


@pytest.mark.slow
@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_a_real_sweep_opens_without_an_error(chromium, swept, tmp_path, size, scheme):
    out = report("first", storage=swept.options.storage, out=tmp_path / "page.html").path
    with opened(chromium, out, size, scheme) as (page, wrong):
        page.evaluate("Promise.all(charts.map(draw))")
        assert page.locator("#example-0 image").count() == 1
        assert page.locator("#time-chart .bars .point").count() > 0
        assert page.locator("#trials-table tbody tr").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert wrong == []


@pytest.mark.slow
def test_curves_can_be_hovered_over_and_marked(chromium, page_of_many):
    from playwright.sync_api import TimeoutError as NotInTime

    with opened(chromium, page_of_many) as (page, wrong):
        chart = page.locator("#curves-chart")
        chart.scroll_into_view_if_needed()
        page.wait_for_selector("#curves-chart .scatterlayer path.js-line")
        for _ in range(20):  # a busy machine draws once more after the mouse has come
            at = page.evaluate(
                """() => {
                  const plot = document.getElementById("curves-chart"), { xaxis, yaxis } = plot._fullLayout;
                  const box = plot.getBoundingClientRect(), score = trials[best].best * 0.75;
                  return [box.x + xaxis._offset + xaxis.d2p(3), box.y + yaxis._offset + yaxis.d2p(score)];
                }"""
            )
            page.mouse.move(at[0] - 3, at[1] - 3)
            page.mouse.move(*at)
            with suppress(NotInTime):
                page.wait_for_selector("#tip:not([hidden])", timeout=1000)
                break
        said = page.locator("#tip").inner_text()
        best = data_of(page_of_many)["best"]
        assert f"trial {best}, the best" in said
        assert "epoch 3: validation micro F1" in said
        assert "learning rate" in said
        page.mouse.click(*at)
        assert page.locator("#trials-table tr.marked td:first-child").inner_text() == str(best)
        page.select_option("#curves-metric", label="train loss")
        page.wait_for_function("document.getElementById('curves-chart').innerText.includes('train loss')")
        assert wrong == []


@pytest.mark.slow
def test_the_table_sorts_and_filters(chromium, page_of_many):
    with opened(chromium, page_of_many) as (page, wrong):

        def column(number):
            return page.locator(f"#trials-table tbody td:nth-child({number})").all_inner_texts()

        scores = [float(of) for of in column(3) if of != "–"]
        assert len(scores) == 29
        assert scores == sorted(scores, reverse=True)
        page.get_by_role("button", name="trial", exact=True).click()
        assert column(1) == [str(of) for of in range(1, 31)]
        page.get_by_role("button", name="trial", exact=True).click()
        assert column(1)[0] == "30"
        page.fill("#trials-filter", "failed")
        assert column(1) == ["29"]
        page.fill("#trials-filter", "unit = lstm, score > 0.7, layers >= 3")
        trials = data_of(page_of_many)["trials"]
        kept = [of["number"] for of in trials if of["hyperparameters"]["unit"] == "lstm" and (of["best"] or 0) > 0.7]
        kept = [of for of in kept if trials[of - 1]["hyperparameters"]["layers"] >= 3]
        assert sorted(map(int, column(1))) == kept
        assert page.locator("#trials-count").inner_text() == f"{len(kept)} of 30"
        page.get_by_role("button", name="Show all").click()
        assert len(column(1)) == 30
        assert wrong == []


@pytest.mark.slow
def test_dragging_over_an_axis_keeps_the_trials_that_pass_there(chromium, page_of_many):
    with opened(chromium, page_of_many) as (page, wrong):
        page.locator("#parallel-chart").scroll_into_view_if_needed()
        page.wait_for_selector("#parallel-chart .scatterlayer path.js-line")
        x, top, middle = page.evaluate(
            """() => {
              const plot = document.getElementById("parallel-chart"), { xaxis, yaxis } = plot._fullLayout;
              const box = plot.getBoundingClientRect(), y = (at) => box.y + yaxis._offset + yaxis.d2p(at);
              return [box.x + xaxis._offset + xaxis.d2p(0), y(1.04), y(0.5)];
            }"""
        )
        page.mouse.move(x - 20, top)
        page.mouse.down()
        page.mouse.move(x, (top + middle) / 2)
        page.mouse.move(x + 20, middle)
        page.mouse.up()
        page.locator("#trials-count", has_text=" of ").wait_for()
        scores = [of["best"] for of in data_of(page_of_many)["trials"] if of["best"] is not None]
        half = (min(scores) + max(scores)) / 2
        shown = [float(of) for of in page.locator("#trials-table tbody td:nth-child(3)").all_inner_texts()]
        assert 0 < len(shown) < len(scores)
        assert len(shown) == pytest.approx(sum(of >= half for of in scores), abs=1)
        assert min(shown) >= half - 0.02
        assert wrong == []


@pytest.mark.slow
def test_tricks_in_the_folder_do_nothing(chromium, tmp_path):
    link = '<a href="https://example.org">look</a>'
    records = [made_trial(of, chosen={"unit": [HOSTILE, link][of % 2], HOSTILE: of}) for of in range(1, 12)]
    records[0].state, records[0].error = "failed", HOSTILE
    for record in records:
        for entry in record.history:
            entry["metrics"][f"validation_{HOSTILE}"] = 0.5
    folder = write_sweep(tmp_path, records, corpora=[HOSTILE], recipe=link)
    content = json.loads((folder / "result.json").read_text())
    content["tests"] = {
        link: content["tests"]["song"] | {"classes": {HOSTILE: {"f1": 1.0, "onsets": 3}, link: {"f1": 0.5}}}
    }
    (folder / "result.json").write_text(json.dumps(content))
    with opened(chromium, report("made", storage=str(tmp_path)).path) as (page, wrong):
        page.evaluate("Promise.all(charts.map(draw))")
        page.evaluate("tell({clientX: 5, clientY: 5}, sayTrial(1, []))")
        page.wait_for_timeout(200)
        assert page.title() == "made – mirtune"
        assert page.locator("a[href^='http'], svg a").count() == 0
        assert page.locator("script").count() == 3
        assert HOSTILE in page.locator("#faults").inner_text()
        assert wrong == []


@pytest.mark.slow
def test_the_policy_lets_nothing_else_run_or_load(chromium, page_of_many, tmp_path):
    """What would get past the escaping, were it ever to fail, is stopped by the browser."""
    added = "<script>document.title = 'taken'</script><img src='https://example.org/a.png'>"
    tampered = tmp_path / "tampered.html"
    tampered.write_text(page_of_many.read_text().replace("<main", f"{added}<main"))
    with opened(chromium, tampered) as (page, wrong):
        page.wait_for_timeout(200)
        assert page.title() == "made – mirtune"
        refused = [of for of in wrong if of.startswith("error: ")]
        assert any("Executing inline script violates" in of for of in refused), refused
        assert any("example.org" in of and "img-src" in of for of in refused), refused
