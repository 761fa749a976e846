"""What each stage of a preparation costs, by doing nothing but that stage; for the benchmarks."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.corpora import Track
from data_prep.corpora.track import Framed
from data_prep.files import checksum, fingerprint
from data_prep.manifest import Moments
from data_prep.onsets import target_grid
from data_prep.shards import ShardWriter
from data_prep.spectrogram import BANDS, log_spectrogram_of


def seconds_by_stage(
    tracks: Iterable[Track], classes: int, clock: Callable[[], float] = time.perf_counter
) -> Counter[str]:
    """Seconds of decoding, features, annotations with their targets, writing, checksums and moments, over all tracks.

    The checksums are of the sources, of the features and of the shard.
    """
    took: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "shard.arrow"
        with ShardWriter(shard, BANDS, classes) as writer:
            for track in tracks:
                with _timed(took, clock, "annotations, targets"):
                    heard = track.recording.read()  # of the audio nothing yet
                assert not isinstance(heard, Framed)
                with _timed(took, clock, "decode"):
                    blocks = list(heard.blocks)
                with _timed(took, clock, "features"):
                    bands = log_spectrogram_of(blocks)
                with _timed(took, clock, "annotations, targets"):
                    targets = target_grid(heard.annotated.onsets.merged(), len(bands), classes)
                with _timed(took, clock, "write"):
                    writer.write(bands, targets)
                with _timed(took, clock, "checksums"):
                    fingerprint(bands)
                    for path in track.recording.sources:
                        checksum(path)
                with _timed(took, clock, "moments"):
                    Moments.of(bands)
        with _timed(took, clock, "checksums"):
            checksum(shard)
    return took


@contextmanager
def _timed(took: Counter[str], clock: Callable[[], float], stage: str) -> Iterator[None]:
    began = clock()
    yield
    took[stage] += clock() - began  # type: ignore[assignment]


def print_shares(took: Counter[str], whole_s: float, per: Callable[[float], str]) -> None:
    """A line for each stage, and one for what the whole took beyond them; ``per`` words an amount of seconds."""
    for stage, seconds in (*took.most_common(), ("the rest", whole_s - took.total())):
        print(f"  {stage:<52} {per(seconds)}  {seconds / whole_s:6.1%}")
