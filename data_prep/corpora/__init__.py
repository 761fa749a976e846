"""The corpora: one table, one module each, which only yields tracks; everything else exists once, elsewhere."""

from data_prep.corpora import adtof_yt, demo, egmd, enst, folder, groove, mdb, music, sadtp, slakh
from data_prep.corpora.track import CorpusSource, PrepOptions, Recording, Track

CORPORA = {
    source.name: source
    for source in (
        *(
            adtof_yt.SOURCE,
            demo.SOURCE,
            demo.UNSEEN,
            demo.STEMS_SOURCE,
            egmd.SOURCE,
            enst.SOURCE,
            enst.WITH_MDB,
            groove.SOURCE,
        ),
        groove.STEMS_SOURCE,
        *(folder.SOURCE, mdb.SOURCE, music.SOURCE, sadtp.SOURCE, slakh.SOURCE),
    )
}

__all__ = ["CORPORA", "CorpusSource", "PrepOptions", "Recording", "Track"]
