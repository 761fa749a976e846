"""What a study leaves in its folder: a page, a table, everything as JSON, and the figures."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.files import write_atomically
from tuner.studies import ARCHITECTURE
from tuner.study_grid import grid_of
from tuner.study_page import as_csv, document, markdown
from tuner.telling import in_words

if TYPE_CHECKING:
    from tuner.studies import Studied


def write_study(studied: "Studied") -> list[Path]:
    """Write all of them anew; the files."""
    options, grid = studied.study.options, grid_of(studied)
    metric = in_words(grid.metric)
    pictures: list[tuple[str, str, bytes]] = []
    if any(value.score is not None for value in grid.values.values()):
        from tuner.study_pictures import bars, heat_map

        if grid.kind == ARCHITECTURE:
            for suffix, what, within_columns in (
                ("-by-corpus.png", f"Test {metric} of the architectures on each corpus", True),
                ("-by-architecture.png", f"Test {metric} of each architecture on the corpora", False),
            ):
                pictures.append((suffix, what, bars(grid, what, within_columns=within_columns)))
        else:
            what = f"{metric[0].upper()}{metric[1:]} of {options.architectures[0]} by what it was trained on"
            pictures.append(("-heat-map.png", what, heat_map(grid, what)))
    files = {suffix: content for suffix, _, content in pictures}
    page = markdown(studied, [(options.file(suffix).name, what) for suffix, what, _ in pictures])
    files |= {".md": page.encode(), ".csv": as_csv(studied).encode()}
    files[".json"] = (json.dumps(document(studied), indent=1, allow_nan=False) + "\n").encode()
    for suffix, content in files.items():
        with write_atomically(options.file(suffix)) as temporary:
            temporary.write_bytes(content)
    return [options.file(suffix) for suffix in files]
