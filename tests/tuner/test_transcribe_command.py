"""`mirtune transcribe`: files, folders and patterns, several formats, what is there already, what cannot be read."""

import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import torch
from miniature import drum_hits

from data_prep.rates import SAMPLE_RATE_HZ
from data_prep.refused import Refused
from data_prep.spectrogram import FEATURES
from trainables import checkpoint as module
from trainables.checkpoint import Checkpoint
from trainables.config import TrainingConfig
from trainables.network import Network
from trainables.notation import NOTE_MAPS, WRITERS, Writer
from trainables.peaks import PeakRule
from trainables.tasks import TASKS
from trainables.transcribing_files import find_recordings
from tuner.cli import main
from tuner.commands.transcribe import EXAMPLES, FORMATS

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def shipped(tmp_path_factory, monkeypatch) -> Path:
    """An untrained checkpoint, which hears something everywhere, in the place of the package's own."""
    torch.manual_seed(0)
    network = Network(TASKS["drum_onsets"], "vit", SMALL, bands=84, classes=5)
    classes = ("kick", "snare", "toms", "hi-hat", "cymbals")
    rule = PeakRule(delta=0.0, threshold=0.1)
    folder = tmp_path_factory.mktemp("checkpoint") / "shipped"
    config = TrainingConfig(("mdb",), "vit", SMALL)
    Checkpoint(config, classes, FEATURES, 84, network.state_dict(), peak_rule=rule).save(folder)
    monkeypatch.setattr(module, "DEFAULT_FOLDER", folder)
    return folder


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


def write_song(path: Path, seconds: float = 1.0, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, drum_hits(seed, seconds=seconds)[0], SAMPLE_RATE_HZ)
    return path


@pytest.fixture
def songs(tmp_path) -> Path:
    """A folder as people have them."""
    folder = tmp_path / "songs"
    for name in ("b.WAV", "Ärger & Ênfer $1.flac", "live [2004]/a.wav", "live [2004]/CD 2/日本.ogg", "a.b.mp3"):
        write_song(folder / name)
    (folder / "cover.jpg").write_bytes(b"no sound")
    (folder / "._b.wav").write_bytes(b"Mac OS X")
    write_song(folder / ".hidden" / "x.wav")
    return folder


PLACES = {"b", "Ärger & Ênfer $1", "live [2004]/a", "live [2004]/CD 2/日本", "a.b"}


def made(out: Path, ending: str = "") -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob(f"*{ending}") if path.is_file()}


def test_a_folder_keeps_its_structure(songs, out, capsys):
    assert main(["transcribe", str(songs), "--out", str(out), "--format", "midi", "csv"]) == 0
    assert made(out) == {f"{place}{ending}" for place in PLACES for ending in (".mid", ".csv")}
    told = capsys.readouterr()
    line = rf"^live \[2004\]/a\.wav: [\d,]+ onsets in {re.escape(str(out))}/live \[2004\]/a\.mid, \.csv$"
    assert re.search(line, told.out, re.MULTILINE)
    assert told.out.count("\n") == len(PLACES)
    assert "transcribed 5 of 5 recordings" in told.err
    assert "times real time" in told.err


def test_every_format_is_written(tmp_path, out):
    song = write_song(tmp_path / "song.wav")
    assert tuple(WRITERS) == FORMATS
    assert len({of.suffix for of in WRITERS.values()} | {".png"}) == len(WRITERS) + 1
    assert main(["transcribe", str(song), "--out", str(out), "--format", *FORMATS, "--plot"]) == 0
    assert made(out) == {"song.png", *(f"song{of.suffix}" for of in WRITERS.values())}


def test_json_is_one_document(songs, out, document, capsys):
    (songs / "broken.wav").write_bytes(b"RIFF no more")
    assert main(["transcribe", str(songs), "--out", str(out), "--json"]) == 2
    shown = document()
    assert len(shown) == len(PLACES) + 1
    (broken,) = [of for of in shown if "refused" in of]
    assert broken["audio"] == str(songs / "broken.wav")
    assert "cannot be decoded" in broken["refused"]
    for of in shown:
        if of is not broken:
            assert set(of) == {"audio", "midi", "seconds", "onsets"}
            notes = [message for message in mido.MidiFile(of["midi"]) if message.type == "note_on"]
            assert len(notes) == of["onsets"]


def test_without_out_it_is_the_current_folder(tmp_path, monkeypatch, capsys):
    write_song(tmp_path / "music" / "song.wav")
    monkeypatch.chdir(tmp_path)
    assert main(["transcribe", "music/song.wav"]) == 0
    assert (tmp_path / "song.mid").is_file()


@pytest.mark.parametrize(
    ("inputs", "places"),
    [
        (["*"], PLACES),
        (["**/*.ogg"], {"live [2004]/CD 2/日本"}),
        (["*.[Ww][Aa][Vv]"], {"b"}),
        (["live [2004]/*.wav"], {"a"}),
        (["live [2004]/**/*"], {"a", "CD 2/日本"}),
        (["live*"], {"live [2004]/a", "live [2004]/CD 2/日本"}),
        (["live [2004]"], {"a", "CD 2/日本"}),
        (["live [2004]/a.wav", "b.WAV", "b.WAV"], {"a", "b"}),
        ([".", "*.mp3"], PLACES),
    ],
)
def test_inputs_stand_for_recordings(songs, monkeypatch, inputs, places):
    monkeypatch.chdir(songs)
    found = find_recordings(inputs)
    assert {of.place.as_posix() for of in found} == places
    assert len(found) == len(places)
    absolute = find_recordings([str(songs / of) for of in inputs])
    assert [of.place for of in absolute] == [of.place for of in found]


def test_a_file_is_taken_whatever_it_is_called(tmp_path, out, capsys):
    write_song(tmp_path / "song.wav").rename(tmp_path / "song [take *1].sound")
    assert main(["transcribe", str(tmp_path / "song [take *1].sound"), "--out", str(out)]) == 0
    assert made(out) == {"song [take *1].mid"}


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (["a.wav", "other/a.wav"], "two inputs are named 'a.wav', a.wav and other/a.wav, and would be written to one"),
        (["*/../a.wav"], r"the pattern '\*/\.\./a\.wav' goes up \(\.\.\) after a wildcard; write where it leads to"),
        (["o*/../../*/a.wav"], "goes up"),
        (["empty"], "the folder empty holds no recording, nor do its folders; expected files ending in .wav"),
        (["*.ogg"], r"no recording matches '\*.ogg'; check the pattern"),
    ],
)  # fmt: skip
def test_nothing_is_written_where_inputs_do_not_go_together(tmp_path, monkeypatch, capsys, inputs, words):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "a.mp3", "other/a.wav"):
        write_song(tmp_path / name, 0.1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match=words):
        find_recordings(inputs)
    assert main(["transcribe", *inputs, "--out", "out"]) == 2
    assert not (tmp_path / "out").exists()


def test_what_only_endings_tell_apart_keeps_them(tmp_path, out, monkeypatch, capsys):
    for name in ("song.wav", "song.mp3", "song.wav.flac", "other.wav", "live/song.wav", "../beside/other.ogg"):
        write_song(tmp_path / "in" / name, 0.1)
    monkeypatch.chdir(tmp_path / "in")
    inputs = [".", "../beside/*.ogg", "./other.wav", "live/../other.wav"]  # one of them three times
    assert main(["transcribe", *inputs, "--out", str(out), "--format", "midi", "csv"]) == 0
    places = ("song.wav", "song.mp3", "song.wav.flac", "other.wav", "other.ogg", "live/song")
    assert made(out) == {f"{place}{ending}" for place in places for ending in (".mid", ".csv")}
    assert f"song.mp3: 0 onsets in {out}/song.mp3.mid, .csv" in re.sub(
        r"\d+ onsets?", "0 onsets", capsys.readouterr().out
    )


def test_endings_of_outputs_are_compared_too(tmp_path, out, capsys):
    for name in ("a.wav", "a.roll.wav"):
        write_song(tmp_path / "in" / name, 0.1)
    assert main(["transcribe", str(tmp_path / "in"), "--out", str(out), "--format", "roll", "--plot"]) == 2
    assert "a.roll.wav and " in capsys.readouterr().err
    assert not out.exists()


def test_bad_files_do_not_stop_the_others(tmp_path, out, capsys):
    for number in range(3):
        write_song(tmp_path / "in" / f"{number}.wav")
    (tmp_path / "in" / "1a.wav").write_bytes(b"")
    (tmp_path / "in" / "1b.mp3").write_bytes(b"\0" * 5000)
    soundfile.write(tmp_path / "in" / "1c.wav", np.zeros(0), SAMPLE_RATE_HZ)
    assert main(["transcribe", str(tmp_path / "in"), str(tmp_path / "gone.wav"), "--out", str(out)]) == 2
    assert made(out) == {"0.mid", "1.mid", "2.mid"}
    told = capsys.readouterr().err.splitlines()
    assert sum("cannot be decoded as audio" in line for line in told) >= 1
    assert sum("1c.wav holds no audio samples" in line for line in told) == 1
    assert sum("no audio file at" in line and "gone.wav" in line for line in told) == 1
    assert told[-1] == "mirtune: 4 of 7 recordings could not be transcribed, for the reasons above"


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """Three recordings, and a function that has the tables of one of them raise an error."""
    for number in range(3):
        write_song(tmp_path / "in" / f"{number}.wav", 0.5)

    def fail(error: BaseException) -> None:
        def write(transcribed, path, options):
            if transcribed.title == "1":
                raise error
            WRITTEN(transcribed, path, options)

        monkeypatch.setitem(WRITERS, "csv", Writer(".csv", "", write))

    return fail


WRITTEN = WRITERS["csv"].write


def test_a_mistake_of_ours_does_not_stop_the_others(tmp_path, out, failing, capsys):
    failing(RuntimeError("a tensor\nis none"))
    line = ["transcribe", str(tmp_path / "in"), "--out", str(out), "--format", "csv"]
    assert main(line) == 1
    assert made(out) == {"0.csv", "2.csv"}
    text = r"in/1\.wav could not be transcribed because of a mistake in mirtune \(RuntimeError: a tensor\\nis none\)"
    assert re.search(f"mirtune: .*{text}", capsys.readouterr().err)
    (tmp_path / "in" / "0a.wav").write_bytes(b"")
    assert main(line) == 1
    told = capsys.readouterr().err
    assert re.search(f"^/.*{text}; report it$", told, re.MULTILINE)
    assert "mirtune: 2 of 4 recordings could not be transcribed, for the reasons above" in told
    assert main(["-v", *line]) == 1
    assert "RuntimeError: a tensor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "no space left on the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 2, "out: Permission denied"),
        (KeyboardInterrupt(), 130, "1 of 3 recordings are done, their files whole"),
    ],
)
def test_what_the_next_would_meet_too_stops_all(tmp_path, out, failing, capsys, error, status, words):
    failing(error)
    assert main(["transcribe", str(tmp_path / "in"), "--out", str(out), "--format", "csv"]) == status
    assert made(out) == {"0.csv"}
    assert words in capsys.readouterr().err


def test_a_tempo_that_cannot_be_estimated_is_told(tmp_path, out, capsys):
    song = write_song(tmp_path / "song.wav", 0.5)
    for given, told in (
        ("--tempo estimate", True), ("--format staff", True), ("", False), ("--tempo 90 --format jams", False),
    ):  # fmt: skip
        assert main(["transcribe", str(song), "--out", str(out), *given.split()]) == 0
        assert ("song.wav: too few onsets for an estimate of the tempo" in capsys.readouterr().err) == told


def test_a_name_too_long_for_an_output_is_one_bad_file(tmp_path, out, capsys):
    write_song(tmp_path / "in" / "a.wav")
    write_song(tmp_path / "in" / f"{'n' * 245}.wav")
    assert main(["transcribe", str(tmp_path / "in"), "--out", str(out)]) == 2
    assert made(out) == {"a.mid"}
    assert "cannot be written (File name too long); give another --out" in capsys.readouterr().err


def test_what_is_there_is_skipped(songs, out, capsys, document):
    line = ["transcribe", str(songs), "--out", str(out), "--skip-existing"]
    assert main(line) == 0
    capsys.readouterr()
    assert main(line) == 0
    assert capsys.readouterr().out == "all 5 are there already; nothing to transcribe\n"
    (out / "b.mid").unlink()  # missing
    os.utime(songs / "a.b.mp3", (time.time() + 9, time.time() + 9))  # changed since
    assert main([*line, "--json"]) == 0
    assert {Path(of["audio"]).name for of in document()} == {"b.WAV", "a.b.mp3"}
    assert main([*line, "--format", "csv", "midi", "--json"]) == 0
    assert len(document()) == 5  # tables are missing
    assert main([*line, "--format", "csv", "midi", "--json"]) == 0
    assert [Path(of["audio"]).name for of in document()] == ["a.b.mp3"]  # still newer


def test_a_dry_run_writes_nothing(songs, out, capsys, document):
    line = ["transcribe", str(songs), "--out", str(out), "--format", "midi", "csv", "--plot", "--dry-run"]
    assert main(line) == 0
    told = capsys.readouterr().out
    assert f"{songs}/b.WAV -> {out}/b.mid, .csv, .png\n" in told
    assert told.endswith("5 to transcribe; nothing was written\n")
    assert main([*line, "--json"]) == 0
    assert {"audio": f"{songs}/b.WAV"} | {
        name: f"{out}/b{ending}" for name, ending in (("midi", ".mid"), ("csv", ".csv"), ("plot", ".png"))
    } in document()
    assert not out.exists()


def notes_of(path: Path) -> list[mido.Message]:
    return [message for message in mido.MidiFile(path) if message.type == "note_on" and message.velocity]


def test_options_reach_the_writers(tmp_path, out, capsys):
    song = str(write_song(tmp_path / "song.wav", 3.0))
    (tmp_path / "map.json").write_text('{"kick": 1, "snare": 2, "toms": 3, "hi-hat": 4, "cymbals": 5}')
    line = ["transcribe", song, "--out", str(out), "--note-map", str(tmp_path / "map.json"), "--velocity", "fixed:99"]
    assert main([*line, "--tempo", "96", "--align-downbeat", "--meter", "3/4"]) == 0
    assert {message.velocity for message in notes_of(out / "song.mid")} == {99}
    assert {message.note for message in notes_of(out / "song.mid")} <= {1, 2, 3, 4, 5}
    signs = [of for of in mido.MidiFile(out / "song.mid").tracks[0] if of.type == "time_signature"]
    assert signs[-1].numerator == 3
    tempos = {of.tempo for of in mido.MidiFile(out / "song.mid").tracks[0] if of.type == "set_tempo"}
    assert tempos & {625_000}
    assert main(["transcribe", song, "--out", str(out), "--note-map", "roland", "--tempo", "estimate"]) == 0
    assert {message.note for message in notes_of(out / "song.mid")} <= set(NOTE_MAPS["roland"].values())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--tempo fast", "--tempo 'fast'; expected beats a minute, as in 96.5, or estimate"),
        ("--tempo 2", "a tempo of 2 beats a minute; expected 20 to 400"),
        ("--grid 5", "a grid of 5 steps a beat; choose from 1, 2, 3, 4, 6, 8"),
        ("--tempo nan", "a tempo of nan beats a minute"),
        ("--align-downbeat", "--align-downbeat without --tempo"),
        ("--meter 6/8", "--meter '6/8'; expected quarter notes in a bar, as in 4/4, 3/4 or 7/4"),
        ("--meter 99999999999/4", "beats in a bar; expected 1 to 16"),
        ("--meter 4", "--meter '4'"),
        ("--velocity fixed:200", "a velocity of 200; expected 1 to 127"),
        ("--velocity fixed", "--velocity 'fixed'; expected strength, or fixed:1 to fixed:127"),
        ("--velocity 80", "--velocity '80'"),
        ("--note-map gone.json", "no note map gone.json; choose from gm, roland"),
    ],
)
def test_options_that_are_none_are_refused_at_once(tmp_path, out, capsys, given, words):
    song = write_song(tmp_path / "song.wav", 0.1)
    assert main(["transcribe", str(song), "--out", str(out), *given.split()]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_a_map_that_lacks_a_class_is_refused_before_anything_is_heard(tmp_path, out, capsys):
    song = write_song(tmp_path / "song.wav", 0.1)
    (tmp_path / "map.json").write_text('{"kick": 1}')
    assert main(["transcribe", str(song), "--out", str(out), "--note-map", str(tmp_path / "map.json")]) == 2
    assert "has no pitch for class 'snare'" in capsys.readouterr().err
    assert not out.exists()


def test_examples_show_options_that_there_are():
    from tuner.cli import parser

    for _, line in EXAMPLES:
        assert parser().parse_args(shlex.split(line)[1:]).command == "transcribe"


STOPPED = """
import sys
from pathlib import Path
from trainables import checkpoint
checkpoint.DEFAULT_FOLDER = Path(sys.argv.pop(1))
from tuner.cli import command
command()
"""


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files_and_says_how_to_go_on(tmp_path, out, shipped, capsys):
    first = write_song(tmp_path / "in" / "00.wav", 10.0)
    for number in range(1, 20):
        shutil.copy2(first, tmp_path / "in" / f"{number:02}.wav")
    line = ["transcribe", str(tmp_path / "in"), "--out", str(out), "--format", "midi", "csv", "--skip-existing"]
    command = [sys.executable, "-c", STOPPED, str(shipped), *line]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 50
        while len(made(out, ".csv")) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "of 20 recordings are done, their files whole" in told
    assert told.splitlines()[-1] == "mirtune: stopped; the same command with --skip-existing goes on"
    done = made(out, ".csv")
    assert 3 <= len(done) < 20
    assert all(Path(of).suffix in (".mid", ".csv") for of in made(out))  # nothing half written
    assert all(len(mido.MidiFile(out / of).tracks) == 1 for of in made(out, ".mid"))
    before = {of: (out / of).stat().st_mtime_ns for of in done}
    assert main([*line, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 20 - len(done)
    assert {of: (out / of).stat().st_mtime_ns for of in done} == before
    assert len(made(out)) == 40
