"""Gravis Ultrasound patches (.pat): the first recording of one, as FreePats has them.  S samples."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.bounded import read_bounded
from data_prep.refused import Refused

LIMIT_BYTES = 16 << 20
MAGIC = b"GF1PATCH110\0"
SAMPLE_HEADER, HEADER_BYTES = 239, 96  # where the first recording's header lies, and how long it is
SIXTEEN_BITS, UNSIGNED = 1, 2  # flags


@dataclass(frozen=True)
class Patch:
    """samples float32 (S,) within [-1, 1], as they lie in the file: loops and envelopes are not played."""

    samples: np.ndarray
    rate_hz: int


def read_patch(path: Path) -> Patch:
    """The first recording of a patch; Refused where the file is missing, is no patch or is cut short."""
    content = read_bounded(path, LIMIT_BYTES, "patch", "a drum's is far smaller")
    start = SAMPLE_HEADER + HEADER_BYTES
    if not content.startswith(MAGIC) or len(content) < start:
        raise Refused(f"{path} is no Gravis patch; replace it or leave its folder out of --kits")
    header = content[SAMPLE_HEADER:start]
    count_bytes = int.from_bytes(header[8:12], "little")
    rate_hz, flags = int.from_bytes(header[20:22], "little"), header[55]
    held = content[start : start + count_bytes]
    if len(held) < count_bytes or not rate_hz:
        raise Refused(
            f"{path} holds {len(held)} of the {count_bytes} bytes of sound at {rate_hz} Hz that its header promises; "
            "replace it or leave its folder out of --kits"
        )
    bits = 16 if flags & SIXTEEN_BITS else 8
    kind = f"<{'u' if flags & UNSIGNED else 'i'}{bits // 8}"
    values = np.frombuffer(held[: len(held) - len(held) % (bits // 8)], kind).astype(np.float32)
    if flags & UNSIGNED:
        values -= 2.0 ** (bits - 1)
    return Patch(values * np.float32(2.0 ** (1 - bits)), rate_hz)
