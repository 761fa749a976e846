"""Where a recording's energy rises: onsets of anything, found without a network. T frames, F bands.

Spectral flux of the log-filtered bands as they are stored, and peaks of it that stand out from what is around (Böck,
Krebs and Schedl, "Evaluating the online capabilities of onset detection methods", ISMIR 2012, sections 2.2 and 2.6).
Their fixed threshold hangs on the recording's level; here it is a share of the flux's own deviation in the track.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

HIGHEST_FRAMES, MEAN_FRAMES = 3, 10  # on either side: a peak is the highest of 70 ms and above the mean of 210 ms
LEAST_DEVIATIONS = 0.5


def flux(bands: np.ndarray) -> np.ndarray:
    """(T, F) -> (T,): how much the bands that grow from one frame to the next grow together; 0 in the first frame."""
    return np.diff(bands.astype(np.float32), axis=0, prepend=bands[:1].astype(np.float32)).clip(min=0).sum(axis=1)


def rises(bands: np.ndarray) -> np.ndarray:
    """(T, F) -> (T,) bool, True in the frames whose flux is the highest around and stands out from it."""
    grown = flux(bands)
    highest = sliding_window_view(np.pad(grown, HIGHEST_FRAMES), 2 * HIGHEST_FRAMES + 1).max(axis=1)
    mean = sliding_window_view(np.pad(grown, MEAN_FRAMES), 2 * MEAN_FRAMES + 1).mean(axis=1)
    return (grown == highest) & (grown > mean + LEAST_DEVIATIONS * grown.std())
