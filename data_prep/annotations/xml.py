"""XML from outside, plain or in a zip, parsed within limits: no entities, no depth, no flood of elements."""

import io
import zipfile
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from data_prep.refused import Refused

MAX_XML_BYTES = 16 * 2**20  # an orchestra's score
MAX_ELEMENTS = 1_000_000
MAX_DEPTH = 100  # MusicXML needs a dozen
MAX_ZIP_ENTRIES = 1000
CONTAINER = "META-INF/container.xml"


class _Unfit(Exception):
    """What an XML document has that it must not have."""


def parse_xml(content: bytes, path: Path, expected: str) -> Element:
    """The root of a document, whose bytes come from ``path``.

    Raises Refused where it is no XML, declares entities, is nested too deep or has too many elements.
    """
    parser, builder = expat.ParserCreate(), TreeBuilder()
    depth = elements = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1
        if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
            raise _Unfit(f"more than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_ELEMENTS} elements")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def entity(*_: object) -> None:
        raise _Unfit("declarations of entities")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.EntityDeclHandler = entity  # a few of them can stand for gigabytes, or for other files
    try:
        parser.Parse(content, True)
        return builder.close()
    except _Unfit as error:
        raise Refused(f"{path} has {error}; {expected}: export it again") from error
    except (expat.ExpatError, LookupError, ValueError, AssertionError) as error:  # LookupError: an unknown encoding
        raise Refused(f"{path} is no XML ({error}); {expected}: export it again") from error


def unzipped(content: bytes, path: Path, expected: str) -> bytes:
    """The document that a compressed MusicXML file names as its first; other bytes as they are.

    Raises Refused where the zip is broken, or larger than ``MAX_XML_BYTES`` once it is unpacked.
    """
    if not content.startswith(b"PK"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.infolist()) > MAX_ZIP_ENTRIES:
                raise _Unfit(f"it has more than {MAX_ZIP_ENTRIES} entries")
            container = parse_xml(_entry(archive, CONTAINER), path, expected)
            roots = [element.get("full-path", "") for element in container.iter() if element.tag.endswith("rootfile")]
            if not roots:
                raise _Unfit("its container names no score")
            return _entry(archive, roots[0])
    except Refused:
        raise
    except Exception as error:  # zipfile raises many kinds on broken bytes
        raise Refused(f"{path} cannot be unpacked ({str(error)[:100]!r}); {expected}: export it again") from error


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of an entry; what its size is said to be and what it is are both checked."""
    info = archive.getinfo(name)
    with archive.open(info) as file:
        content = file.read(MAX_XML_BYTES + 1) if info.file_size <= MAX_XML_BYTES else None
    if content is None or len(content) > MAX_XML_BYTES:
        raise _Unfit(f"{name} is larger than {MAX_XML_BYTES:,} bytes")
    return content
