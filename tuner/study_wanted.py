"""What a study's checkpoints are scored on, and whether that fits what they are trained on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data_prep.refused import Refused

if TYPE_CHECKING:
    from data_prep.shards import Corpus
    from tuner.studies import StudyOptions


def wanted_of(options: "StudyOptions", opened: "Mapping[str, Corpus]") -> dict[str, tuple[str, str]]:
    """Corpus -> split and protocol; Refused where a corpus cannot be scored on."""
    from trainables.data import MIXED
    from trainables.evaluation import check_scoring
    from tuner.studies import ARCHITECTURE

    trained_on = {of for union in options.unions for of in union}
    has_test = [name for name, of in opened.items() if of.manifest.splits["test"].tracks]
    plain = [name for name, of in opened.items() if of.manifest.condition not in MIXED]
    if options.kind == ARCHITECTURE:
        for union in options.unions:
            if not set(union) & set(has_test) & set(plain):
                raise Refused(
                    f"{'+'.join(union)} has no test tracks to compare architectures on; name a corpus that has, or "
                    "add one to it by +"
                )
    on = options.on or tuple(name for name in plain if name in has_test)
    if not on:
        raise Refused("none of the corpora has test tracks to score on; name one that has by --on")
    wanted = {}
    for name in on:
        splits = opened[name].manifest.splits
        if not any(split.tracks for split in splits.values()):
            raise Refused(f"corpus {name!r} has no tracks to score on; prepare it anew, or leave it out of --on")
        if name not in has_test and name in trained_on:
            raise Refused(
                f"corpus {name!r} has no test tracks, and is trained on in some combination, so its others cannot be "
                "scored on; leave it out of --on, or out of --combinations"
            )
        split = "test" if name in has_test else "all"
        wanted[name] = (split, check_scoring(opened[name], split, options.protocol))
    return wanted


def check_unions(
    options: "StudyOptions", opened: "Mapping[str, Corpus]", wanted: Mapping[str, tuple[str, str]], targets: str
) -> None:
    """Refused where corpora of a union do not fit each other, the task, or what the union is scored on."""
    from trainables.data import check_fit
    from tuner.studies import ARCHITECTURE

    for union in options.unions:
        trained = [opened[name].manifest for name in sorted(union)]
        check_fit(trained, targets)
        if options.kind == ARCHITECTURE:
            protocols = {name: wanted[name][1] for name in union if name in wanted}
            if len(set(protocols.values())) > 1:
                raise Refused(
                    f"the scores of {'+'.join(union)} would be the mean of different protocols "
                    f"({', '.join(f'{name}: {of}' for name, of in protocols.items())}); give --protocol segments"
                )
            continue
        for name in wanted:
            check_fit([*trained, opened[name].manifest], targets)
