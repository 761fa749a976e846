"""3, 5 and 8 classes: prepared, trained on, evaluated and transcribed; what does not fit together is refused."""

import mido
import numpy as np
import pytest

from data_prep.classes import VOCABULARIES
from data_prep.corpora import PrepOptions
from data_prep.job import prepare
from data_prep.onsets import Onsets
from data_prep.refused import Refused
from data_prep.shards import Corpus
from trainables.config import Settings, TrainingConfig
from trainables.data import TrainingData
from trainables.evaluation import PROTOCOLS, evaluate
from trainables.loop import train
from trainables.transcription import PITCHES, Transcriber, Transcription, plot, write_midi

SMALL = {"patch_bands": 21, "heads": 2, "layers": 1, "width": 24}
NAMES = {classes: "mdb" if classes == 5 else f"mdb-{classes}" for classes in VOCABULARIES}


@pytest.fixture(scope="module")
def prepared(mdb_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes") / "shards"
    for classes in VOCABULARIES:
        prepare("mdb", source=mdb_folder, shards=folder, options=PrepOptions(workers=1, classes=classes))
    return folder


def trained(prepared, classes):
    config = TrainingConfig((NAMES[classes],), "vit", SMALL, Settings(batch_size=4, max_epochs=1))
    (epoch,) = train(config, prepared, device="cpu")
    return epoch


@pytest.mark.parametrize("classes", VOCABULARIES)
def test_every_vocabulary_goes_from_audio_to_midi(prepared, mdb_folder, tmp_path, classes):
    vocabulary = VOCABULARIES[classes]
    epoch = trained(prepared, classes)
    assert {f"validation_f1_{name}" for name in vocabulary} <= set(epoch.metrics)
    assert epoch.checkpoint.classes == vocabulary
    for protocol in PROTOCOLS:
        score = evaluate(epoch.checkpoint, NAMES[classes], prepared, protocol=protocol, device="cpu")
        assert tuple(score.classes) == vocabulary
        held = Corpus.open(prepared / NAMES[classes]).manifest.splits["test"].onsets
        assert {name: of.onsets for name, of in score.classes.items()} == held
    transcription = Transcriber(epoch.checkpoint).transcribe(next(mdb_folder.glob("audio/*/*.wav")))
    assert (transcription.classes, transcription.activations.shape[1]) == (vocabulary, classes)
    write_midi(transcription, tmp_path / "heard.mid")


@pytest.mark.parametrize("classes", VOCABULARIES)
def test_each_class_has_its_pitch_and_its_row_in_the_picture(tmp_path, classes):
    onsets = Onsets.of(np.arange(classes) / 2, np.arange(classes), np.ones(classes))
    empty = np.zeros((500, classes))
    transcription = Transcription(onsets, VOCABULARIES[classes], np.zeros((500, 84)), empty)
    write_midi(transcription, tmp_path / "a.mid")
    notes = [message.note for message in mido.MidiFile(tmp_path / "a.mid") if message.type == "note_on"]
    assert notes == [PITCHES[name] for name in VOCABULARIES[classes]]
    assert len(set(notes)) == classes
    plot(transcription, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_checkpoint_of_other_classes_is_refused(prepared):
    checkpoint = trained(prepared, 5).checkpoint
    for other in (3, 8):
        words = f"corpus 'mdb-{other}' has classes .*, the checkpoint .*'cymbals'.*choose another checkpoint"
        with pytest.raises(Refused, match=words):
            evaluate(checkpoint, NAMES[other], prepared)


def test_corpora_of_other_classes_are_not_learned_together(prepared):
    with pytest.raises(Refused, match="corpora 'mdb' and 'mdb-8' differ in their classes"):
        TrainingData.open(("mdb", "mdb-8"), prepared, "onsets")
