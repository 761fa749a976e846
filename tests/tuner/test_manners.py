"""How the command line behaves: help with examples, one sentence for a mistake, quiet, dry runs, completion."""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from data_prep.corpora import PrepOptions
from data_prep.refused import Refused, check_known
from tuner import forecast, prep_forecast
from tuner.cli import COMMANDS, main, parser
from tuner.commands import completion, prep, show
from tuner.options import SweepOptions
from tuner.parser import broken

NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]
HEAVY = {"torch", "ray", "mlflow", "optuna", "numpy", "pandas", "partitura", "matplotlib", "plotly", "pyarrow", "scipy"}
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80"}


def parsers():
    (commands,) = (of for of in parser()._actions if isinstance(of, argparse._SubParsersAction))
    return commands.choices


@pytest.mark.parametrize("module", COMMANDS, ids=NAMES)
def test_every_command_says_what_it_does_with_examples_that_parse(module):
    assert module.SUMMARY[0].islower()
    assert not module.SUMMARY.endswith(".")
    assert module.EXAMPLES
    for what, line in module.EXAMPLES:
        assert what
        words = shlex.split(line.rpartition(" && ")[2])  # before it a folder is made
        words = words[: words.index(">")] if ">" in words else words
        assert words[:2] == ["mirtune", module.__name__.rpartition(".")[2]]
        assert parser().parse_args(words[1:]).run is module.run


@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_fits_a_terminal_and_shows_the_examples(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = (parsers()[name] if name else parser()).format_help()
    assert [line for line in shown.splitlines() if len(line) > 80] == []
    assert "--quiet" in shown
    assert ("the usual order:" in shown) if not name else ("examples:" in shown)


def test_a_long_example_is_broken_so_that_a_shell_joins_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    line = "mirtune sweep --corpus a b --architecture crnn --points 'a file.json' --narrow hidden=1,2 layers=3 --resume"
    lines = broken(line, 4)
    assert len(lines) > 1
    assert max(map(len, lines)) <= 78
    assert shlex.split(" ".join(of.removesuffix("\\") for of in lines)) == shlex.split(line)


def test_a_command_behind_another_begins_a_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    (_, line), *_ = completion.EXAMPLES
    lines = broken(line, 4)
    assert [of.split()[0] for of in lines if not of.startswith("     ")] == ["mkdir", "mirtune"]
    assert shlex.split(" ".join(of.removesuffix("\\") for of in lines)) == shlex.split(line)


@pytest.mark.parametrize("columns", ["1", "2", "19", "40"])
@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_is_there_in_a_terminal_that_is_hardly_one(name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    shown = (parsers()[name] if name else parser()).format_help()
    assert "--quiet" in shown


MISTAKES = [
    (["swep"], "unknown command 'swep'; did you mean sweep? See mirtune --help"),
    (["xyzzy"], "unknown command 'xyzzy'; choose from demo, prep"),
    (["sweep", "--trails", "3"], "there is no option '--trails'; did you mean --trials? See mirtune sweep --help"),
    (["sweep", "--trials", "many"], "--trials: invalid int value: 'many'; see mirtune sweep --help"),
    (
        ["sweep", "--recipe", "stdy"],
        "--recipe: unknown 'stdy'; choose from study, mirtune; did you mean study? See mirtune",
    ),
    (["prep"], "missing: CORPUS; see mirtune prep --help"),
    (["prep", "mdb", "extra"], "'extra' is one argument too many; see mirtune prep --help"),
    (["prep", "mdb", "--check", "--dry-run"], "not allowed with argument"),
]


@pytest.mark.parametrize(("line", "sentence"), MISTAKES)
def test_a_mistake_on_the_command_line_is_one_sentence(line, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert output.err.startswith("mirtune: ")
    assert sentence in output.err


def test_a_name_that_is_nearly_right_is_suggested():
    with pytest.raises(Refused, match=r"^unknown corpus 'mbd'; choose from egmd, mdb; did you mean mdb\?$"):
        check_known("corpus", "mbd", ["egmd", "mdb"])
    with pytest.raises(Refused, match=r"^unknown corpus 'nothing'; choose from egmd, mdb$"):
        check_known("corpus", "nothing", iter(["egmd", "mdb"]))


def test_help_and_version_load_nothing_heavy():
    lines = [["--help"], ["--version"], ["no-such-command"], *([name, "--help"] for name in NAMES)]
    code = (
        "import sys, io, contextlib\n"
        "from tuner.cli import main\n"
        f"for line in {lines!r}:\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        "        try: main(line)\n"
        "        except SystemExit: pass\n"
        f"    heavy = {{name.partition('.')[0] for name in sys.modules}} & {HEAVY!r}\n"
        "    assert not heavy, (line, heavy)\n"
        "print('light')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert (done.stdout, done.stderr) == ("light\n", "")


def test_what_a_sweep_would_take_writes_nothing_and_knows_earlier_sweeps(swept, shards, tmp_path, capsys, document):
    line = ["sweep", "--corpus", "mdb", "--architecture", "vit", "--trials", "6", "--max-epochs", "5", "--dry-run"]
    line += ["--batch-size", "4", "--shards", str(shards), "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    line += ["--narrow", "patch_bands=21", "heads=2", "layers=1", "width=24"]
    there = sorted((swept.folder / "sweeps").rglob("*"))
    assert main([*line, "--json", "--storage", str(swept.folder / "sweeps")]) == 0
    found = document()
    assert sorted((swept.folder / "sweeps").rglob("*")) == there
    assert (found["trials"], found["epochs"], found["batch_size"]) == (6, 30, 4)
    assert "sweep first" in found["pace"]["source"]
    told = [entry["metrics"]["windows_per_s"] for of in swept.result.trials for entry in of.history]
    assert min(told) <= found["pace"]["training"][0] <= found["pace"]["training"][2] <= max(told)
    low, middle, high = found["seconds"]
    assert 0 < low <= middle <= high
    epoch_s = (
        found["windows"] / found["pace"]["training"][1] + found["validation_windows"] / found["pace"]["validation"][1]
    )
    rounds = -(-6 // found["at_once"])
    assert middle == pytest.approx(rounds * (5 * epoch_s + found["pace"]["besides_s"]))

    assert main([*line, "--storage", str(tmp_path / "sweeps")]) == 0
    output = capsys.readouterr()
    assert "30 at most (5 a trial)" in output.out
    assert "few steps of 3 configurations" in output.out
    assert list(tmp_path.iterdir()) == []
    taken = [*line, "--storage", str(swept.folder / "sweeps"), "--name", "first"]
    assert main(taken) == 2
    assert "there is a sweep named 'first'" in capsys.readouterr().err


def test_what_a_preparation_would_take_writes_nothing(mdb_folder, tmp_path, capsys, document):
    line = ["prep", "mdb", "--source", str(mdb_folder), "--shards", str(tmp_path / "shards")]
    assert main([*line, "--dry-run", "--json"]) == 0
    found = document()
    assert list(tmp_path.iterdir()) == []
    assert main([*line, "--json", "--quiet"]) == 0
    output = capsys.readouterr()
    made = json.loads(output.out)
    assert {split: of["tracks"] for split, of in made["splits"].items()} == found["tracks"]
    seconds = sum(of["seconds"] for of in made["splits"].values())
    assert found["seconds_of_audio"] == pytest.approx(seconds, rel=0.01)
    shards = sum(path.stat().st_size for path in (tmp_path / "shards" / "mdb").glob("shard-*"))
    assert found["bytes"] == pytest.approx(shards, rel=0.05)
    assert "prepared" not in output.err
    assert main([*line, "--dry-run"]) == 0
    assert "it is prepared there already" in capsys.readouterr().out


def test_free_space_is_that_of_the_folder_that_a_uri_names(mdb_folder, tmp_path, monkeypatch):
    asked = []
    free = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: asked.append(folder) or free)
    place = tmp_path / "a place" / "shards"
    found = prep_forecast.forecast("mdb", mdb_folder, place.as_uri(), PrepOptions(workers=1))
    assert asked == [tmp_path]
    assert found.free_bytes == free.free
    assert not place.parent.exists()


def test_a_forecast_shows_names_as_they_are_and_lets_none_act(mdb_folder, tmp_path, shards):
    found = prep_forecast.forecast("mdb", mdb_folder, tmp_path / "\x1b[31mred\n", PrepOptions(workers=1))
    said = prep_forecast.lines(found)
    assert r"\x1b[31mred\n/mdb" in said[0]
    options = SweepOptions(("mdb",), "\x1b[2Jvit", shards=shards)
    plan = SimpleNamespace(name="a\nb")
    known = forecast.Forecast(1, 1, 1, 1, 1, 1, 1, 0.0, 1, None, None)
    said = forecast.lines(options, plan, known)
    assert said[0].startswith(r"sweep a\nb would search \x1b[2Jvit on mdb")
    assert all(line.isprintable() for line in said)


def test_output_that_nobody_reads_to_the_end_is_no_error():
    for line in (["--help"], ["completion", "bash"]):
        command = [sys.executable, "-m", "tuner.cli", *line]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_a_second_interrupt_ends_a_command_at_once(tmp_path):
    code = (
        "import sys, time, tuner.commands.show as show, tuner.cli as cli\n"
        "def run(arguments):\n"
        "    try:\n"
        "        print('runs', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleans', flush=True); time.sleep(60)\n"
        "show.run = run\n"
        "sys.argv = ['mirtune', 'show', 'mdb']\n"
        "cli.command()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdout.readline() == "runs\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleans\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("line", "how"),
    [("prep mdb", "; finished shards stay; the same command goes on"), ("show mdb", "; run the same command again")],
)
def test_what_was_stopped_says_how_to_go_on(line, how, monkeypatch, capsys):
    def stopped(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(prep, "run", stopped)
    monkeypatch.setattr(show, "run", stopped)
    assert main(line.split()) == 130
    assert capsys.readouterr().err == f"mirtune: stopped{how}\n"
