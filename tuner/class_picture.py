"""The classes of a tested checkpoint as one picture: a bar a class and corpus, with its interval."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from data_prep.colours import OKABE_ITO
from data_prep.refused import printable
from tuner.run_notes import f1_of

FILE = "test-classes.png"
DPI, HEIGHT_IN, INCHES_A_GROUP = 110, 4.0, 1.1


def draw_classes(tests: Mapping[str, Mapping[str, Any]], title: str) -> bytes:
    """A PNG of the F1 of each class, and of all together, by corpus; ``tests`` as `mirtune evaluate --json`.

    A class that does not occur has no bar; where no corpus has a score of all together, that group is left out.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for score in tests.values() for name in score.get("classes", {})))
    has_all = any("micro_f1" in score for score in tests.values())
    groups = [*(["all (micro)"] if has_all else []), *names]
    width = 0.8 / len(tests)
    style: dict[Any, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        size_in = (max(6.0, INCHES_A_GROUP * len(groups) * max(1.0, len(tests) / 3)), HEIGHT_IN)
        figure = Figure(size_in, DPI, layout="constrained")
        figure.suptitle(printable(title), x=0.01, ha="left", weight="bold", parse_math=False)
        axes = figure.subplots()
        for number, (corpus, score) in enumerate(tests.items()):
            every = [{**score, "f1": score.get("micro_f1")}] if has_all else []
            of = [*every, *(score.get("classes", {}).get(name, {}) for name in names)]
            f1s = np.array([f1_of(one) for one in of], float)  # NaN where there is none
            sure = [one.get("interval") or (f1, f1) for one, f1 in zip(of, f1s, strict=True)]
            bounds = np.abs(np.array(sure).T - f1s)
            at = np.arange(len(groups)) + (number - (len(tests) - 1) / 2) * width
            colour = OKABE_ITO[number % len(OKABE_ITO)]
            axes.bar(at, f1s, 0.9 * width, yerr=bounds, color=colour, alpha=0.85, capsize=3, ecolor="0.3",
                     label=f"{printable(corpus)} ({printable(str(score.get('protocol', '?')))})")  # fmt: skip
            for x, f1, high in zip(at, f1s, f1s + bounds[1], strict=True):
                if np.isfinite(f1):
                    axes.annotate(f"{f1:.2f}", (x, high), (0, 3), textcoords="offset points", ha="center", size=8)
        axes.set_xticks(range(len(groups)), [printable(name) for name in groups])
        axes.set(ylabel="F1 on the test split", ylim=(0, 1.05))
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, loc="upper right", ncols=min(len(tests), 4))
        written = BytesIO()
        figure.savefig(written, format="png")
    return written.getvalue()
