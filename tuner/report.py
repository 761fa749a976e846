"""A sweep as one page that people open, read and hand on: `mirtune report`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.files import write_atomically
from data_prep.refused import Refused
from tuner.options import SweepOptions
from tuner.reporting.examples import Examples, examples_of
from tuner.reporting.gather import gather
from tuner.reporting.hyperparameters import axes_of, distributions_of, importances_of
from tuner.reporting.page import facts_of, page

if TYPE_CHECKING:
    from data_prep.transfer import Progress

SUFFIX = ".html"
NOT_ASKED = Examples(note="Left out, as --no-examples asked.")


@dataclass(frozen=True)
class Report:
    """Where the page is, its size, and the headline facts of the sweep."""

    path: Path
    size_bytes: int
    facts: dict[str, Any]
    importances: dict[str, float]
    examples: int
    note: str  # why there are no examples
    seconds: float


def report(
    name: str, *, storage: str = SweepOptions.storage, shards: str | Path | None = None, out: Path | None = None,
    examples: bool = True, say: Callable[[str], None] = lambda text: None, progress: "Progress | None" = None,
) -> Report:  # fmt: skip
    """Write the page of a sweep, finished or still running; nothing in the sweep's folder is changed but the page.

    ``shards``: where its corpora are; None: where they were when it began, and an object store's only as far as they
    were fetched before. ``progress`` is told of what is fetched. ``out``: a file; None: report.html in the
    sweep's folder, or NAME.html here where that lies in an object store. ``say`` is told what takes a while. Refused
    where there is no such sweep, or nothing in it yet.
    """
    began = time.monotonic()
    sweep = gather(name, storage)
    path = out or (sweep.folder.path / f"report{SUFFIX}" if sweep.folder.is_local else Path(f"{name}{SUFFIX}"))
    if path.is_dir():
        raise Refused(f"{path} is a folder; give --out the name of a file, such as {path / f'report{SUFFIX}'}")
    distributions = distributions_of(sweep)
    say(f"sweep {name}: {len(sweep.records)} trials; importances")
    importances = importances_of(sweep, distributions)
    axes = axes_of(sweep, distributions, importances.shares)
    shown = NOT_ASKED
    if examples:
        say("listening to validation windows with the best checkpoint")
        shown = examples_of(sweep, shards, progress)
    content = page(sweep, axes, importances, shown).encode("utf-8", "replace")
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)
    seconds = time.monotonic() - began
    return Report(
        path, len(content), facts_of(sweep), importances.shares, len(shown.shown), shown.note, seconds
    )  # fmt: skip
