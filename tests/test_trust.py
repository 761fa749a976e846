"""Trust: nothing that a file holds is executed or unpickled, and no name leads out of the folder it is put in."""

import ast
import json
import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_prep.annotations import read_labels
from data_prep.corpora import PrepOptions
from data_prep.corpora.tables import Inside
from data_prep.files import checksum
from data_prep.job import prepare
from data_prep.manifest import MANIFEST, Manifest
from data_prep.refused import Refused
from data_prep.shards import TRACKS, Corpus
from data_prep.show import file_stem, show_corpus
from trainables.data import SplitData

ROOT = Path(__file__).parents[1]
OURS = ("data_prep", "search_spaces", "trainables", "tuner")
# what turns bytes into code, or into objects of any class
MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "code", "imp"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
CALLS = {
    *("torch.load", "torch.jit.load", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle", "os.system"),
    *(
        "yaml.load",
        "yaml.load_all",
        "yaml.unsafe_load",
        "yaml.full_load",
        "saved_model.load",
        "keras.models.load_model",
    ),
    *("mlflow.pyfunc.load_model", "pyfunc.load_model", "mlflow.pytorch.load_model", "pytorch.load_model"),
}
METHODS = {"extractall", "unpack_archive", "load_model", "read_pickle"}
FLAGS = {"allow_pickle", "shell"}  # as keywords, unless they are False
SLOW = settings(max_examples=200, suppress_health_check=list(HealthCheck))
HOSTILE = (
    "..",
    ".",
    "",
    "/",
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a\\..\\..\\x",
    "~",
    "a\0b",
    "a\nb",
    "x" * 5000,
)
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.text("./\\~\0 a", max_size=12))


def dangers(tree: ast.AST) -> set[str]:
    """What a module uses of the above."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if MODULES & set(alias.name.split("."))}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in names if MODULES & set(name.split(".")) or name in CALLS}
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            found |= {called} if called in BUILT_IN | CALLS or (last in METHODS and last != called) else set()
            found |= {
                f"{called}({of.arg}=...)"
                for of in node.keywords
                if of.arg in FLAGS and not (isinstance(of.value, ast.Constant) and of.value.value is False)
            }
    return found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pickle", {"pickle"}),
        ("from ray import cloudpickle, tune", {"ray.cloudpickle"}),
        ("from torch import load", {"torch.load"}),
        ("x = torch.load(path, weights_only=True)", {"torch.load"}),
        ("np.load(path, allow_pickle=True)", {"np.load", "np.load(allow_pickle=...)"}),
        ("yaml.load(text, Loader=yaml.SafeLoader)", {"yaml.load"}),
        ("tarfile.open(path).extractall(folder)", {"tarfile.open(path).extractall"}),
        ("subprocess.run(command, shell=True)", {"subprocess.run(shell=...)"}),
        ("network.eval(); re.compile(pattern); subprocess.run(command, shell=False)", set()),
        ("eval(text)", {"eval"}),
    ],
)
def test_what_is_looked_for_is_found(code, found):
    assert dangers(ast.parse(code)) == found


def test_nothing_that_is_read_is_executed_or_unpickled():
    paths = [path for folder in OURS for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 80
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        found = dangers(ast.parse(path.read_text()))
        assert not found, f"{name} uses {sorted(found)}"


@SLOW
@given(track=NAMES)
def test_pictures_of_a_track_lie_in_their_folder(track):
    stem = file_stem("mdb", track)
    assert stem.startswith("mdb-")
    assert Path("out", f"{stem}-clicks.wav").parent == Path("out")
    assert not set(stem) & set("/\\\0\n")
    assert len(os.fsencode(f".{stem}-clicks.wav.01234567.part")) < 256


def rewritten(shards: Path, folder: Path, **changes) -> Path:
    """A corpus folder with another manifest, its other files linked."""
    folder.mkdir()
    for path in (shards / "mdb").iterdir():
        if path.is_file() and path.name != MANIFEST:
            (folder / path.name).symlink_to(path)
    (folder / MANIFEST).write_text(json.dumps(json.loads((shards / "mdb" / MANIFEST).read_text()) | changes))
    return folder


@SLOW
@given(name=NAMES)
@example(name="mdb")
def test_a_corpus_that_names_itself_out_of_its_folder_is_refused(shards, tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("named")
    try:
        corpus = Corpus.open(rewritten(shards, folder / "corpus", corpus=name))
    except Refused:
        assert name != "mdb"
        return
    assert Path(show_corpus(corpus, folder / "out")["picture"]).resolve().parent == folder / "out"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corpus": "../../evil"}, r"is damaged \(its corpus is named '\.\./\.\./evil'\)"),
        ({"bands": 10**12}, r"it has 1000000000000 bands and 5 classes"),
        ({"bands": 0}, r"it has 0 bands"),
        ({"classes": ["kick"] * 5}, "it has a class twice"),
        ({"classes": [*"abcd", "\x1b[2J"]}, "which cannot be printed"),
        ({"title": "MDB\x1b]0;owned\x07"}, "which cannot be printed"),
        ({"command": "mirtune prep mdb; rm -rf ~"}, "its command is 'mirtune prep mdb; rm -rf ~'"),
        ({"command": "curl evil"}, "its command is 'curl evil'"),
        ({"command": "mirtune prep 'mdb"}, r"is damaged \(No closing quotation"),
        ({"timing": {"seconds": 10**400}}, r"manifest\.timing\.seconds is '1000"),
    ],
)
def test_a_manifest_of_a_stranger(shards, tmp_path, changes, said):
    with pytest.raises(Refused, match=said):
        Corpus.open(rewritten(shards, tmp_path / "corpus", **changes))


def test_a_manifest_that_counts_more_than_there_can_be(shards, tmp_path):
    content = json.loads((shards / "mdb" / MANIFEST).read_text())
    for key, value in (("frames", 2**63), ("tracks", 10**6), ("windows", -1)):
        splits = {**content["splits"], "train": {**content["splits"]["train"], key: value}}
        with pytest.raises(Refused, match=r"the train split has|it counts 1000004 tracks"):
            Manifest.load(rewritten(shards, tmp_path / key, splits=splits))


def test_files_of_a_manifest_stay_in_its_folder(shards, tmp_path):
    outside = tmp_path / "outside.arrow"
    outside.write_bytes(b"")
    content = json.loads((shards / "mdb" / MANIFEST).read_text())
    for number, name in enumerate(("../outside.arrow", str(outside), "..", ".", "", "a\0b", "x" * 300)):
        folder = rewritten(shards, tmp_path / f"{number}", files={**content["files"], name: checksum(outside)})
        with pytest.raises(Refused, match=r"which .* lists, is missing"):
            Corpus.open(folder)


EXTREME = st.sampled_from((0, -1, 1, 7, 8, 2**31, 2**40, 2**42, 2**52, 2**60, 2**62, 2**63 - 1, -(2**63)))


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    column=st.sampled_from(("frames", "first_byte", "windows", "seconds", "split", "shard", "id", "performance")),
    row=st.integers(0, 7),
    value=EXTREME | st.floats() | NAMES | st.none() | st.sampled_from((TRACKS, "onsets.parquet", "shard-00001.arrow")),
    of_all=st.booleans(),
)
def test_any_table_of_tracks_is_read_or_refused(shards, tmp_path_factory, column, row, value, of_all):
    """Its checksum is right and its manifest agrees, as a stranger's would."""
    table = pd.read_parquet(shards / "mdb" / TRACKS).astype({column: object})
    for place in range(len(table)) if of_all else [row]:
        table.at[place, column] = value
    folder = rewritten(shards, tmp_path_factory.mktemp("table") / "corpus")
    (folder / TRACKS).unlink()
    try:
        table.to_parquet(folder / TRACKS)
    except (ValueError, TypeError, OverflowError):  # no column holds such a mixture
        return
    content = json.loads((folder / MANIFEST).read_text())
    content["files"][TRACKS] = checksum(folder / TRACKS)
    if column == "frames" and isinstance(value, int):
        for split, of in content["splits"].items():
            of["frames"] = sum(table[table["split"] == split]["frames"]) % 2**64  # as sums that overflow would be
            of["frames"] -= 2**64 if of["frames"] >= 2**63 else 0
    (folder / MANIFEST).write_text(json.dumps(content))
    try:
        corpus = Corpus.open(folder)
        data = SplitData([corpus], "all")
        for number in range(len(data.frames)):
            assert len(data.track(number).bands) == data.frames[number]
        for of in corpus.rows("all").itertuples():
            assert len(corpus.frames(of)[0]) == of.frames
    except Refused:
        return


@SLOW
@given(name=NAMES | st.sampled_from(("link/x", "link", "kept/link/x", "kept/a.wav", "kept/../kept/a.wav")))
def test_a_table_names_files_inside_its_folder_only(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("tables")
    source, outside = folder / "source", folder / "outside"
    (source / "kept").mkdir(parents=True)
    outside.mkdir()
    for link in (source / "link", source / "kept" / "link"):
        link.symlink_to(outside)
    if Inside(source)(name):
        assert Path(os.path.realpath(source / name)).is_relative_to(source)


@pytest.mark.parametrize("name", ["../../evil.xml", "/tmp/evil.xml", "META-INF/container.xml", "x" * 70_000])
def test_an_archive_writes_nothing(name, tmp_path):
    score = tmp_path / "in" / "song.mxl"
    score.parent.mkdir()
    with zipfile.ZipFile(score, "w") as archive:
        if len(name) < 2**16:
            archive.writestr(name, "<score-partwise/>")
        root = f'<container><rootfiles><rootfile full-path="{name}"/></rootfiles></container>'
        archive.writestr("META-INF/container.xml", root)
    with pytest.raises(Refused, match=r"song\.mxl"):
        read_labels(score)
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "song.mxl"]


def test_a_folder_of_parts_that_is_a_link_is_left_alone(mdb_folder, tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    (others / "shard-00999.json").write_text("kept")
    (tmp_path / "mdb").mkdir()
    (tmp_path / "mdb" / "parts").symlink_to(others)
    with pytest.raises(Refused, match=r"parts is a link; expected a folder that only mirtune writes in"):
        prepare("mdb", source=mdb_folder, shards=tmp_path, options=PrepOptions(workers=1))
    assert [path.name for path in others.iterdir()] == ["shard-00999.json"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("line", ["prep mdb --name", "show", "sweep --architecture vit --trials 1 --corpus", "sweep"])
def test_names_on_the_command_line(name, line, mdb_folder, shards, tmp_path, monkeypatch):
    from tuner.cli import main

    (tmp_path / "here" / "shards").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    given = [*line.split(), name]
    given += ["--source", str(mdb_folder), "--workers", "1"] if line.startswith("prep") else []
    if line == "sweep":
        given = [line, "--corpus", "mdb", "--architecture", "vit", "--trials", "1", "--shards", str(shards)]
        given += ["--name", name]
    if not (line == "sweep" and name == ""):  # then it has none
        assert main(given) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
    assert {path.name for path in (tmp_path / "here").iterdir()} <= {"shards", "results"}
