"""The corpora: one table, one module each, which only yields tracks; everything else exists once, elsewhere."""

from data_prep.corpora import adtof_yt, demo, egmd, enst, folder, groove, mdb, sadtp, slakh
from data_prep.corpora.track import CorpusSource, PrepOptions, Recording, Track

CORPORA = {
    source.name: source
    for source in (
        *(adtof_yt.SOURCE, demo.SOURCE, demo.UNSEEN, egmd.SOURCE, enst.SOURCE, enst.WITH_MDB, groove.SOURCE),
        *(folder.SOURCE, mdb.SOURCE, sadtp.SOURCE, slakh.SOURCE),
    )
}

__all__ = ["CORPORA", "CorpusSource", "PrepOptions", "Recording", "Track"]
