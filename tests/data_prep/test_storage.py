"""Folders on a disk and in an object store keep one contract: what is written is whole or absent."""

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from servers import SECRET, between, small_disk

from data_prep import object_store
from data_prep.refused import Refused
from data_prep.storage import MAX_NAME_BYTES, Storage, is_name, temporary_name

# Names of any kind, those that mean something to a file system or a URI often among them.
NAMES = st.text(st.sampled_from("./\\\0 a~%#?:*\n\x1b*é\ud800\u202e-"), max_size=6) | st.text(max_size=300)


@pytest.fixture(params=["disk", "s3"])
def storage(request, tmp_path) -> Storage:
    """A folder that is not there yet, on a disk and in an object store."""
    if request.param == "disk":
        return Storage.at(tmp_path / "some" / "folder")
    return Storage.at(f"{request.getfixturevalue('s3').uri}/some/folder")


@pytest.fixture
def tree(tmp_path) -> Path:
    """A folder of files, one of them in a folder of its own, one empty."""
    folder = tmp_path / "tree"
    (folder / "inner").mkdir(parents=True)
    for name, content in (("config.json", b"{}"), ("weights", bytes(100)), ("empty", b""), ("inner/file", b"in")):
        (folder / name).write_bytes(content)
    return folder


def contents(storage: Storage) -> dict[str, bytes]:
    with storage.local() as folder:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files(storage):
    assert storage.names() == []
    assert not storage.exists("a")
    for missing in (lambda: storage.read("a"), lambda: storage.size_bytes("a"), lambda: contents(storage)):
        with pytest.raises(FileNotFoundError):
            missing()
    storage.remove("a")
    for content in (b"first", b"", b"more than the first"):
        storage.write("a", content)
        assert storage.read("a") == content
        assert storage.size_bytes("a") == len(content)
    storage.write("B c+é=%41#?", b"odd")
    assert storage.names() == ["B c+é=%41#?", "a"]
    assert storage.read("B c+é=%41#?") == b"odd"
    storage.remove("a")
    assert storage.names() == ["B c+é=%41#?"]
    assert not storage.exists("a")


def test_folders(storage):
    below = storage / "x y%20" / "z"
    assert below.names() == []
    below.write("file", b"123")
    (storage / "x y%20").write("other", b"4567")
    assert storage.names() == ["x y%20"]
    assert (storage / "x y%20").names() == ["other", "z"]
    assert storage.exists("x y%20")
    assert storage.size_bytes("x y%20") == 7
    again = Storage.at(below.location)
    assert again == below
    assert hash(again) == hash(below)
    assert again.read("file") == b"123"
    assert storage != below
    storage.remove("x y%20")
    assert storage.names() == []
    assert below.names() == []


def test_a_folder_or_a_file_of_this_machine_is_put(storage, tree):
    storage.put("best", tree, last="config.json")
    expected = {"config.json": b"{}", "weights": bytes(100), "empty": b"", "inner/file": b"in"}
    assert contents(storage / "best") == expected
    (tree / "weights").write_bytes(b"new")
    (tree / "empty").unlink()
    storage.put("best", tree, last="config.json")
    assert contents(storage / "best") == {"config.json": b"{}", "weights": b"new", "inner/file": b"in"}
    storage.put("one", tree / "weights")
    assert storage.read("one") == b"new"
    assert storage.names() == ["best", "one"]
    with pytest.raises(FileNotFoundError):
        storage.put("none", tree / "none")
    assert storage.names() == ["best", "one"]


def test_a_copy_is_removed_after_use(storage):
    storage.write("a", b"1")
    with storage.local() as folder:
        assert (folder / "a").read_bytes() == b"1"
        assert storage.is_local == (folder == (storage.path if storage.is_local else None))
    assert folder.exists() == storage.is_local
    if not storage.is_local:
        with pytest.raises(ValueError, match="no folder on this machine"):
            _ = storage.path


def test_it_travels_without_secrets(storage):
    storage.write("a", b"1")
    travelled = pickle.dumps(storage)
    assert SECRET.encode() not in travelled
    assert len(travelled) < 500
    assert pickle.loads(travelled).read("a") == b"1"
    assert SECRET not in repr(storage) + str(storage) + storage.location


def test_one_of_many_creates(storage):
    assert storage.create("a", b"mine")
    assert not storage.create("a", b"not mine")
    assert storage.read("a") == b"mine"
    made: list[str] = []
    begin = threading.Barrier(8)

    def create(name: str) -> None:
        own = Storage.at(storage.location)
        begin.wait()
        if own.create("contested", name.encode()):
            made.append(name)

    threads = [threading.Thread(target=create, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [storage.read("contested").decode()] == made
    assert storage.names() == ["a", "contested"]


def test_a_killed_creator_keeps_nobody_out(s3, monkeypatch):
    storage = Storage.at(f"{s3.uri}/folder")
    s3.client().put_object(Bucket=s3.bucket, Key=f"folder/{temporary_name('a')}", Body=b"")  # its claim
    monkeypatch.setattr(object_store, "STALE_CLAIM_S", 2.0)
    began = time.monotonic()
    assert storage.create("a", b"mine")
    assert time.monotonic() - began > 1.0  # as long as it may have been alive


def test_what_is_half_written_is_hidden_and_swept_away(storage):
    storage.write("a", b"1")
    left = temporary_name("a")
    if storage.is_local:
        (storage.path / left).write_bytes(b"half")
        (storage.path / temporary_name("folder")).mkdir()
    else:
        client = storage._store  # nothing of ours leaves such an object; claims of `create` do
        with client.open_output_stream(f"{storage._key()}/{left}") as stream:
            stream.write(b"half")
    assert storage.names() == ["a"]
    assert "half" not in str(contents(storage).keys())
    storage.sweep_away(older_than_s=60)
    storage.sweep_away(older_than_s=-60)
    assert contents(storage) == {"a": b"1"}
    if storage.is_local:
        assert os.listdir(storage.path) == ["a"]


def test_links_are_removed_and_not_followed(tmp_path):
    storage, outside = Storage.at(tmp_path / "in"), tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    storage.write("a", b"1")
    (storage.path / "link").symlink_to(outside)
    (storage.path / "broken").symlink_to("nowhere")
    assert storage.names() == ["a", "broken", "link"]
    assert not storage.create("broken", b"")
    for name in ("link", "broken"):
        storage.remove(name)
    assert storage.names() == ["a"]
    assert (outside / "precious").read_text() == "kept"


def put_below(storage: Storage, name: str) -> None:
    """Whatever the name is, either it is refused or just one thing is in the folder, under that name."""
    try:
        storage.write(name, b"here")
    except Refused:
        assert not is_name(name)
        for refusing in (storage.read, storage.exists, storage.remove, storage.size_bytes, storage.__truediv__):
            with pytest.raises(Refused, match="cannot name a file or folder"):
                refusing(name)
        return
    assert is_name(name)
    assert storage.names() == [name]
    assert storage.read(name) == b"here"
    assert Storage.at((storage / name).location) == storage / name
    storage.remove(name)
    assert storage.names() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(name=NAMES)
@example(name="..")
@example(name="../x")
@example(name="/etc/passwd")
@example(name=".x.01234567.part")
@example(name="a" * MAX_NAME_BYTES)
@example(name="é" * (MAX_NAME_BYTES // 2) + "e")
def test_no_name_escapes_a_folder(tmp_path, name):
    put_below(Storage.at(tmp_path / "in"), name)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["in"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(name=NAMES)
@example(name="..")
@example(name="%2e%2e")
@example(name="a?region=x")
def test_no_name_escapes_a_folder_in_a_store(s3, name):
    put_below(Storage.at(f"{s3.uri}/in"), name)
    assert s3.keys() == []


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("ftp://host/folder", "storage of the kind 'ftp' is not known; expected a path"),
        ("file://host/folder", "storage of the kind 'file' is not known"),
        ("s3://KEY:hidden@bucket/folder", "holds credentials.*AWS_SECRET_ACCESS_KEY"),
        ("s3://bucket/folder?endpoint_override=http://KEY:hidden@host", "holds credentials"),
        ("s3://bucket/folder?secret_key=hidden", "'secret_key' is no option of a storage URI; choose from region"),
        ("s3:///folder", "names no bucket; expected s3://BUCKET/FOLDER"),
        ("s3://bucket/folder#part", "names no bucket"),
        ("s3://bucket/a/../b", "'..' cannot name"),
        ("s3://bucket/a//b", "'' cannot name"),
        ("s3://bucket/a/%2e%2e/b", "'..' cannot name"),
    ],
)
def test_locations_that_are_refused(location, said):
    with pytest.raises(Refused, match=said) as refused:
        Storage.at(location)
    assert "hidden" not in str(refused.value)


def test_locations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage.at("a/../b").location == str(tmp_path / "b")
    assert Storage.at(f"file://{tmp_path}/a%20b").path == tmp_path / "a b"
    of = Storage.at("s3://bucket/a/?region=eu-west-1&endpoint_override=http://127.0.0.1:1")
    assert (of / "b c").location == "s3://bucket/a/b%20c?region=eu-west-1&endpoint_override=http%3A%2F%2F127.0.0.1%3A1"
    assert Storage.at((of / "b c").location) == of / "b c"
    assert (Storage.at("gs://bucket") / "a").location == "gs://bucket/a"


def test_where_nothing_can_be_written(storage, tmp_path, s3):
    storage.probe()
    assert storage.names() == []
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "below", "/proc/folder", "s3://no-such-bucket/folder"):
        with pytest.raises(Refused, match=r"cannot be written .*; check the place and the rights"):
            Storage.at(place).probe()


def test_what_is_small_is_one_request(s3):
    storage = Storage.at(f"{s3.uri}/folder")
    storage.write("small", bytes(4_999_999))
    storage.write("large", bytes(25_000_000))
    tags = {name: s3.client().head_object(Bucket=s3.bucket, Key=f"folder/{name}")["ETag"] for name in storage.names()}
    assert "-" not in tags["small"]
    assert '-3"' in tags["large"]
    assert storage.read("large") == bytes(25_000_000)


BROKEN = {
    "one request": (4_000_000, lambda line: line.startswith("PUT ")),
    "the first of many": (25_000_000, lambda line: line.startswith("POST ") and line.endswith("?uploads")),
    "a part": (25_000_000, lambda line: line.startswith("PUT ") and "partNumber=2" in line),
    "the last of many": (25_000_000, lambda line: line.startswith("POST ") and "uploadId" in line),
}


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_an_upload_that_breaks_off_leaves_what_was_there(s3, broken, monkeypatch, tmp_path):
    size, fails = BROKEN[broken]
    whole = Storage.at(f"{s3.uri}/folder")
    whole.write("replaced", b"old")
    (tmp_path / "file").write_bytes(bytes(size))
    with between(s3.endpoint, fails) as endpoint, monkeypatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", endpoint)
        storage = Storage.at(f"{s3.uri}/folder")
        with pytest.raises(OSError, match="NETWORK_CONNECTION"):
            storage.write("replaced", bytes(size))
        with pytest.raises(OSError, match="NETWORK_CONNECTION"):
            storage.put("new", tmp_path / "file")
        del storage  # what is collected as garbage completes nothing
    assert whole.names() == ["replaced"]
    assert whole.read("replaced") == b"old"
    assert s3.keys() == ["folder/replaced"]


def test_an_interruption_leaves_no_half_object(s3):
    storage = Storage.at(f"{s3.uri}/folder")
    content = bytes(60_000_000)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        for delay_s in (0.001, 0.01, 0.03, 0.1):
            try:
                signal.setitimer(signal.ITIMER_REAL, delay_s)
                storage.write("a", content)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            if storage.exists("a"):
                assert storage.size_bytes("a") == len(content)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted


WRITE_FOR_EVER = """
import sys, itertools
from data_prep.storage import Storage
storage = Storage.at(sys.argv[1])
for number in itertools.count():
    storage.write("a", bytes([number % 256]) * int(sys.argv[2]))
    print(number, flush=True)
"""


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_file(storage):
    size = 20_000_000
    storage.write("a", bytes(size))
    for _ in range(5):
        command = [sys.executable, "-c", WRITE_FOR_EVER, storage.location, str(size)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        writer.stdout.readline()
        time.sleep(0.01 + uuid.uuid4().int % 100 / 500)
        writer.kill()
        writer.communicate()
        content = storage.read("a")
        assert len(content) == size
        assert content == content[:1] * size
    assert storage.names() == ["a"]
    storage.sweep_away(older_than_s=-60)
    if storage.is_local:
        assert os.listdir(storage.path) == ["a"]


@pytest.mark.faults
def test_a_full_disk_keeps_what_was_there(tmp_path, tree):
    (tree / "weights").write_bytes(bytes(4 << 20))
    with small_disk(tmp_path / "disk", "2M") as disk:
        storage = Storage.at(disk / "folder")
        storage.write("a", b"good")
        storage.put("best", tree / "inner")
        for failing in (
            lambda: storage.write("a", bytes(4 << 20)),
            lambda: storage.create("b", bytes(4 << 20)),
            lambda: storage.put("best", tree),
            lambda: storage.put("c", tree / "weights"),
        ):
            with pytest.raises(OSError, match="No space") as full:
                failing()
            assert full.value.errno == errno.ENOSPC
        assert sorted(os.listdir(storage.path)) == ["a", "best"]
        assert contents(storage) == {"a": b"good", "best/file": b"in"}
        storage.write("a", b"better")
        assert storage.read("a") == b"better"
