"""Pictures of scores: a drum staff, engraved by Verovio."""

import re
from pathlib import Path
from xml.etree.ElementTree import tostring

from data_prep.files import write_atomically
from trainables.notation.score import score_of
from trainables.notation.transcribed import NotationOptions, Transcribed

PAGE_WIDTH, MOST_HEIGHT, SCALE = 2100, 60_000, 45  # tenths of a millimetre; the highest page that Verovio makes


def write_staff(transcribed: Transcribed, path: Path, options: NotationOptions) -> None:
    """Write an SVG of the score that `musicxml` writes, as long as it is, atomically."""
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions(
        {
            **{"pageWidth": PAGE_WIDTH, "pageHeight": MOST_HEIGHT, "adjustPageHeight": True, "scale": SCALE},
            **{"footer": "none", "breaks": "auto", "svgViewBox": False, "xmlIdSeed": 1},
        }
    )
    score = tostring(score_of(transcribed, options), encoding="unicode")
    assert toolkit.loadData(score), "Verovio cannot read what the project writes"
    pages = [toolkit.renderToSVG(page) for page in range(1, toolkit.getPageCount() + 1)]
    with write_atomically(path) as temporary:
        temporary.write_text(_stacked(pages), encoding="utf-8")


def _stacked(pages: list[str]) -> str:
    """One picture of pages below each other, on white."""
    sizes = [re.search(r'<svg width="(\d+)px" height="(\d+)px"', page) for page in pages]
    widths, heights = [int(size[1]) for size in sizes if size], [int(size[2]) for size in sizes if size]
    assert len(heights) == len(pages), "Verovio gives its pages sizes in another way"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(widths)}px" height="{sum(heights)}px">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    top = 0
    for page, height in zip(pages, heights, strict=True):
        inner = re.sub(r"^\s*<\?xml[^>]*\?>\s*", "", page)
        parts.append(inner.replace("<svg ", f'<svg y="{top}" ', 1))
        top += height
    return "\n".join([*parts, "</svg>\n"])
