"""What the published study found, to be shown beside a study of one's own: micro F1 by the protocol `segments`.

Source: R. Fosse, automatic-drum-transcription: a search of 15 trials a cell (25 for ENST+MDB) without pruning, on one
A100; in domain, trained and tested on the same corpus. Zero-shot, the CRNN alone, as published with two decimals.
"""

from collections.abc import Mapping

SOURCE = "R. Fosse, automatic-drum-transcription"
NOTE = (
    "Published figures were scored by the protocol segments: 400-frame pieces apart, which costs hits at their edges."
)
CORPORA = {"enst_mdb": "ENST+MDB", "egmd": "E-GMD", "slakh": "Slakh", "adtof_yt": "ADTOF-YT", "sadtp": "SADTP"}
ARCHITECTURES: Mapping[str, Mapping[str, float]] = {
    "rnn": {"enst_mdb": 0.668, "egmd": 0.901, "slakh": 0.864, "adtof_yt": 0.964},
    "cnn": {"enst_mdb": 0.780, "egmd": 0.884, "slakh": 0.832, "adtof_yt": 0.844},
    "crnn": {"enst_mdb": 0.813, "egmd": 0.902, "slakh": 0.896, "adtof_yt": 0.933},
    "conv_transformer": {"enst_mdb": 0.776, "egmd": 0.892, "slakh": 0.883, "adtof_yt": 0.954},
    "vit": {"enst_mdb": 0.543, "egmd": 0.886, "slakh": 0.879, "adtof_yt": 0.964},
}
# of the CRNN: trained on -> scored on
ZERO_SHOT: Mapping[str, Mapping[str, float]] = {
    "egmd": {"enst_mdb": 0.55},
    "slakh": {"enst_mdb": 0.80},
    "adtof_yt": {"enst_mdb": 0.84},
    "adtof_yt+slakh": {"enst_mdb": 0.86},
}
BEST_ON_SADTP = 0.62  # of whatever combination
