"""Datasets that tf.data.Dataset.save wrote, element by element; TensorFlow is imported only where one is opened."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from data_prep.refused import Refused

SPEC, METADATA, SNAPSHOTS = "dataset_spec.pb", "snapshot.metadata", "*/*.shard/*.snapshot"
GZIP = b"\x1f\x8b"
MOST_DEFLATED = 1032  # bytes that one of a gzip file can stand for


@cache
def _tensorflow() -> Any:
    """TensorFlow: quiet, and away from GPUs, whose memory it would fill."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # announces itself at any log level
    try:
        import tensorflow
    except ImportError as error:
        raise Refused(
            f"a TensorFlow dataset is read with TensorFlow, which cannot be imported ({error}): install mirtune[adtof]"
        ) from error
    tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow


class SavedDataset:
    """A folder that tf.data.Dataset.save wrote, with elements in the order they were saved in.

    ``spec``: the structure of an element, with a shape and dtype for each tensor. Elements are best read in rising
    order: going back starts anew at the front, so a process that goes forward only passes over the files once.
    """

    def __init__(self, folder: Path) -> None:
        """Open the folder; Refused where it holds no such dataset, or TensorFlow is not installed."""
        self.folder, self._snapshots = folder, sorted(folder.glob(SNAPSHOTS))
        for name in (SPEC, METADATA, *([] if self._snapshots else [SNAPSHOTS])):
            if not (folder / name).is_file():
                raise Refused(f"{folder} is not a dataset as TensorFlow saves it: it lacks {name}; download it again")
        data = _tensorflow().data
        # TensorFlow deals elements out to as many shards as the saving machine has processors, and picks them up in an
        # order that hangs on the processors of the loading one. Picked up in turn they come as they were saved.
        shards = len({path.parent for path in self._snapshots})
        try:
            dataset = data.Dataset.load(
                str(folder),
                compression=self._compression(),
                reader_func=lambda dealt: dealt.interleave(lambda shard: shard, cycle_length=shards),
            )
        except Exception as error:  # of the protobuf, the graph or the files
            raise Refused(self._damaged("cannot be loaded", error)) from error
        options = data.Options()
        options.threading.private_threadpool_size = 1
        options.autotune.enabled = False
        self._dataset = dataset.with_options(options)
        self.spec = dataset.element_spec
        self._elements: Iterator[Any] = iter(())
        self._next: float = float("inf")  # the place of what the iterator yields next
        self._end: float = float("inf")  # where it broke off
        self._broken = ""

    def __len__(self) -> int:
        """How many elements were saved; Refused where the files are too small for that."""
        tensorflow = _tensorflow()
        count = int(self._dataset.cardinality())
        if count <= 0:  # an old or unfinished save does not say
            try:
                count = int(self._dataset.reduce(tensorflow.constant(0, "int64"), lambda so_far, _: so_far + 1))
            except tensorflow.errors.OpError as error:
                raise Refused(self._damaged("cannot be read", error)) from error
        sizes = [(of.shape.num_elements() or 0) * of.dtype.size for of in tensorflow.nest.flatten(self.spec)]
        held = sum(path.stat().st_size for path in self._snapshots)
        if held * (MOST_DEFLATED if self._compression() else 1) < count * sum(sizes):
            expected = f"{count:,} elements of {sum(sizes):,} bytes"
            raise Refused(self._damaged(f"holds {held:,} bytes; expected more than {expected}"))
        return count

    def read(self, place: int) -> Any:
        """An element's tensors, in the structure of ``spec``; Refused where the files are damaged there or before."""
        if place >= self._end:
            raise Refused(self._broken)
        if place < self._next:
            self._elements, self._next = iter(self._dataset.skip(place)), place
        try:
            while self._next <= place:
                element = next(self._elements)
                self._next += 1
        except (StopIteration, _tensorflow().errors.OpError) as error:
            self._end, self._broken = self._next, self._damaged(f"breaks off after {self._next} elements", error)
            raise Refused(self._broken) from error
        return element

    def _compression(self) -> str | None:
        with self._snapshots[0].open("rb") as file:
            return "GZIP" if file.read(len(GZIP)) == GZIP else None

    def _damaged(self, what: str, error: Exception | None = None) -> str:
        lines = str(getattr(error, "message", error) or "").splitlines()
        detail = f" ({lines[0][:200]})" if lines else ""
        return f"the dataset {self.folder} {what}{detail}; it is damaged or not whole: download it again"
