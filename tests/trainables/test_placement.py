"""Windows: they cover every track, lie within it, and are the same wherever the frames lie."""

import itertools
import threading
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_prep.manifest import WINDOW_FRAMES, window_count
from data_prep.refused import Refused
from data_prep.shards import Corpus, ShardWriter
from trainables import placement
from trainables.data import Spans, SplitData, TrainingData
from trainables.metrics import SILENT_FRAMES
from trainables.placement import MappedWindows, ResidentWindows, StreamedWindows, frame_bytes, place

CPU = torch.device("cpu")
KINDS = (MappedWindows, ResidentWindows, StreamedWindows)


@pytest.fixture(scope="module")
def corpus(shards) -> Corpus:
    return Corpus.open(shards / "mdb")


@pytest.fixture(scope="module")
def split(corpus) -> SplitData:
    """Twice the corpus, so tracks of several corpora and shards lie behind each other."""
    return SplitData([corpus, corpus], "train")


def test_tracks_are_the_table_s(corpus):
    split = SplitData([corpus], "all")
    for number, row in enumerate(corpus.rows("all").itertuples()):
        for ours, theirs in zip(split.track(number), corpus.frames(row), strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert not ours.flags.owndata
            assert not ours.flags.writeable


@pytest.mark.parametrize("windows_of", KINDS)
def test_windows_in_order_cover_every_frame_once(split, windows_of):
    batches = list(windows_of(split, CPU).in_order(5))
    assert [len(bands) for bands, _ in batches] == [5] * (len(split) // 5) + [len(split) % 5] * (len(split) % 5 > 0)
    bands, targets = (torch.cat(of).numpy() for of in zip(*batches, strict=True))
    assert len(bands) == len(split) == sum(map(window_count, split.frames))
    for number, frames in enumerate(split.frames):
        of = split.in_order.tracks == number
        for joined, track in zip((bands[of], targets[of]), split.track(number), strict=True):
            joined = joined.reshape(-1, joined.shape[2])
            np.testing.assert_array_equal(joined[:frames], track)
            assert not joined[frames:].any()


def test_shuffled_windows_lie_within_their_tracks(split):
    spans = split.shuffled(np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(spans.tracks), split.in_order.tracks)
    assert (spans.starts >= 0).all()
    assert (spans.starts + WINDOW_FRAMES <= split.frames[spans.tracks]).all()
    assert len(set(spans.starts % WINDOW_FRAMES)) > 5  # at random offsets
    assert not np.array_equal(spans.starts, split.shuffled(np.random.default_rng(1)).starts)
    bands, targets = split.read(spans)
    for place_, (number, start) in enumerate(zip(*spans, strict=True)):
        track = split.track(number)
        np.testing.assert_array_equal(bands[place_], track.bands[start : start + WINDOW_FRAMES])
        np.testing.assert_array_equal(targets[place_], track.targets[start : start + WINDOW_FRAMES])


@pytest.mark.parametrize("windows_of", KINDS[1:])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_a_seed_s_windows_are_the_same_wherever_frames_lie(split, windows_of, batch_size):
    plain, other = (of(split, CPU).shuffled(batch_size, np.random.default_rng(3)) for of in (MappedWindows, windows_of))
    for expected, found in itertools.zip_longest(plain, other):
        assert all(map(torch.equal, expected, found))


def test_an_upload_in_many_pieces(split, monkeypatch):
    monkeypatch.setattr(placement, "UPLOAD_FRAMES", 333)
    for expected, found in zip(
        MappedWindows(split, CPU).in_order(9), ResidentWindows(split, CPU).in_order(9), strict=True
    ):
        assert all(map(torch.equal, expected, found))


def test_reading_ahead_can_be_broken_off_and_says_what_went_wrong(split, monkeypatch):
    threads = threading.active_count()
    batches = StreamedWindows(split, CPU).in_order(2)
    next(batches)
    assert threading.active_count() == threads + 1
    batches.close()
    assert threading.active_count() == threads

    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(SplitData, "read", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        next(StreamedWindows(split, CPU).in_order(2))


@given(st.lists(st.integers(1, 1300), min_size=1, max_size=6), st.integers(0, 9))
def test_short_and_long_tracks(lengths, seed):
    """On made-up frames: a window shorter than its track's rest is padded, and none leaves its track."""
    split = SplitData.__new__(SplitData)
    split.frames = np.array(lengths)
    windows = window_count(split.frames)
    split.in_order = Spans(
        np.repeat(np.arange(len(lengths)), windows),
        np.concatenate([np.arange(count) * WINDOW_FRAMES for count in windows]),
    )
    tracks, starts = split.shuffled(np.random.default_rng(seed))
    assert (starts >= 0).all()
    assert ((starts + WINDOW_FRAMES <= split.frames[tracks]) | (starts == 0)).all()
    occupied = np.zeros(split.line_frames, int)
    for start, track, at in zip(split.in_order.starts, split.in_order.tracks, split.line_starts, strict=True):
        occupied[at : at + min(WINDOW_FRAMES, split.frames[track] - start)] = track + 1
    assert (occupied > 0).sum() == sum(lengths)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], occupied, [0]])))
    silences = np.diff(np.concatenate([[0], changes, [split.line_frames]]))[::2]
    assert len(silences) == len(lengths) + 1
    assert (silences >= SILENT_FRAMES).all()


def test_a_processor_reads_the_mapped_shards(split):
    assert place(split, CPU).kind == "mapped"


GIB = 2**30


@pytest.mark.parametrize(
    ("total", "free", "share", "kind"),
    [
        (10.0, 10.0, 1.0, "resident"),
        (10.0, 10.0, 0.05, "streamed"),  # four fifths of a twentieth
        (10.0, 0.5, 1.0, "streamed"),
        (1.2, 1.2, 1.0, "streamed"),
    ],
)
def test_frames_go_where_they_fit(split, monkeypatch, total, free, share, kind):
    """Sizes in multiples of the split's own."""
    size = frame_bytes(split)
    assert size == int(split.frames.sum()) * (84 * 2 + 5)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free * size), int(total * size)))
    assert placement._on_gpu(split, CPU, share).kind == kind


def test_a_gpu_that_another_process_filled_is_streamed_to(split, monkeypatch):
    placed: list[weakref.ref] = []

    def full(windows):
        placed.append(weakref.ref(windows._bands))
        raise torch.OutOfMemoryError("CUDA out of memory")

    def empty_cache():
        assert not [of for of in placed if of() is not None]  # else it stays reserved

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1 << 40, 1 << 40))
    monkeypatch.setattr(torch.cuda, "empty_cache", empty_cache)
    monkeypatch.setattr(ResidentWindows, "_upload", full)
    assert placement._on_gpu(split, CPU, 1.0).kind == "streamed"
    assert len(placed) == 1


def test_placed_frames_stay_until_other_corpora_are_asked_for(corpus, monkeypatch):
    monkeypatch.setattr(placement, "_on_gpu", lambda split, device, share: MappedWindows(split, device))
    monkeypatch.setattr(placement, "_PLACED", {})
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    gpu = torch.device("cuda")
    splits = {name: SplitData([corpus], name) for name in ("train", "validation")}
    placed = {name: place(split, gpu) for name, split in splits.items()}
    for named in (gpu, torch.device("cuda:0")):
        assert {name: place(SplitData([corpus], name), named) for name in splits} == placed
    other = SplitData([corpus, corpus], "train")
    place(other, gpu, beside=tuple(splits.values()))
    assert {name: place(SplitData([corpus], name), gpu, beside=[other]) for name in splits} == placed
    place(other, gpu)
    assert len(placement._PLACED) == 1


def anonymous_bytes() -> int:
    """What this process holds of its own, mapped files left out."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.parametrize("windows_of", [MappedWindows, StreamedWindows])
def test_a_corpus_is_never_copied_into_a_process(corpus, tmp_path, windows_of):
    frames, tracks = 40_000, 12
    bands, targets = np.ones((frames, 84), np.float16), np.ones((frames, 5), np.uint8)
    with ShardWriter(tmp_path / "s.arrow", 84, 5) as writer:
        first_bytes = [writer.write(bands, targets) for _ in range(tracks)]
    table = pa.table(
        {
            "id": list(map(str, range(tracks))),
            "split": ["train"] * tracks,
            "shard": ["s.arrow"] * tracks,
            "first_byte": first_bytes,
            "frames": [frames] * tracks,
        }
    )
    split = SplitData([Corpus(tmp_path, corpus.manifest, table)], "train")
    windows = windows_of(split, CPU)
    next(windows.shuffled(16, np.random.default_rng(0)))
    before, most, seen = anonymous_bytes(), 0, 0
    for read, _ in windows.shuffled(16, np.random.default_rng(0)):
        assert read.all()
        seen += len(read)
        most = max(most, anonymous_bytes() - before)
    assert seen == len(split) == tracks * frames // WINDOW_FRAMES
    assert frame_bytes(split) > 80e6
    assert most < 20e6


def test_the_next_trial_finds_the_corpora_open(shards, tmp_path):
    first = TrainingData.open(("mdb",), shards, "onsets")
    assert TrainingData.open(("mdb",), shards, "onsets") is first
    (tmp_path / "shards").symlink_to(shards)
    assert TrainingData.open(("mdb",), tmp_path / "shards", "onsets") is not first


def test_a_track_that_is_not_in_its_shard(corpus):
    table = corpus.table.set_column(
        corpus.table.column_names.index("first_byte"), "first_byte", [[1 << 40] * len(corpus.table)]
    )
    with pytest.raises(Refused, match=r"does not hold track '.*' as .*tracks\.parquet says; run `mirtune prep mdb"):
        SplitData([Corpus(corpus.folder, corpus.manifest, table)], "train")
