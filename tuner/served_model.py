"""A registered checkpoint as MLflow's own tools take it: `mlflow.pyfunc.load_model` and `mlflow models serve`.

Beside the checkpoint lie an MLmodel that names this module, its requirements and an example of its input, nothing that
is unpickled or executed. A row of the input is an audio file, by its path on the machine that predicts or as a data URI
(`data:audio/wav;base64,...`); a row of the output is an onset.
"""

import base64
import binascii
import json
import platform
from collections.abc import Iterable
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from data_prep.refused import Refused
from data_prep.versions import version_of

if TYPE_CHECKING:
    from pandas import DataFrame

    from trainables.checkpoint import Checkpoint

MLMODEL, REQUIREMENTS, PYTHON = "MLmodel", "requirements.txt", "python_env.yaml"
EXAMPLE, SERVED_EXAMPLE = "input_example.json", "serving_input_example.json"
EXTRA_FILES = (MLMODEL, REQUIREMENTS, PYTHON, EXAMPLE, SERVED_EXAMPLE)  # beside the checkpoint's own
COLUMNS = {"path": "string", "time_s": "double", "class": "string", "strength": "double"}
INPUT = "audio"
DATA, MOST_BYTES = "data:", 512 * 2**20
TOOLS = {"python": platform.python_version(), "build_dependencies": ["pip", "setuptools", "wheel"]}


class ServedModel:
    """A checkpoint that predicts: audio files in, a table of onsets out."""

    def __init__(self, checkpoint: "Checkpoint") -> None:
        from trainables.transcription import Transcriber

        self._transcriber = Transcriber(checkpoint)

    def predict(self, model_input: "DataFrame | Iterable[str]", params: dict[str, Any] | None = None) -> "DataFrame":
        """A row an onset: path (or `input N` for audio that was sent), time in s, class, strength from 0 to 1.

        Raises MlflowException, which a server answers with status 400, where an input cannot be read.
        """
        import pandas
        from mlflow.exceptions import MlflowException

        texts = model_input.iloc[:, 0] if isinstance(model_input, pandas.DataFrame) else model_input
        try:
            tables = [self._onsets(str(text), number) for number, text in enumerate(texts, 1)]
        except Refused as reason:
            raise MlflowException.invalid_parameter_value(str(reason)) from reason
        return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame(columns=list(COLUMNS))

    def _onsets(self, text: str, number: int) -> "DataFrame":
        import pandas

        if text.startswith(DATA):
            name = f"input {number}"
            with NamedTemporaryFile(prefix="mirtune-") as file:
                file.write(_decoded(text, name))
                file.flush()
                heard = self._transcriber.transcribe(Path(file.name))
        else:
            name, heard = text, self._transcriber.transcribe(Path(text))
        onsets, classes = heard.onsets, heard.classes
        columns = (name, onsets.times_s, [classes[index] for index in onsets.classes], onsets.velocities.astype(float))
        return pandas.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def _decoded(uri: str, name: str) -> bytes:
    """The bytes in a data URI; Refused where there are none."""
    head, comma, body = uri.partition(",")
    if not comma or not head.endswith(";base64"):
        raise Refused(f"{name} begins {head[:40]!r}; expected a path, or data:audio/wav;base64,... with a whole file")
    if len(body) > MOST_BYTES * 4 // 3:
        raise Refused(f"{name} has more than {MOST_BYTES >> 20} MiB; give its path instead")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise Refused(f"{name} is not what base64 makes ({error}); send the bytes of an audio file so") from error


def _load_pyfunc(path: str) -> ServedModel:
    """What MLflow calls with the folder of a model."""
    from trainables.checkpoint import Checkpoint

    return ServedModel(Checkpoint.load(Path(path)))


def write_served_model(folder: Path, *, run_id: str = "", artifact_path: str = "") -> None:
    """Write what MLflow's tools need (EXTRA_FILES) into the folder of a checkpoint."""
    import yaml
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import add_to_model
    from mlflow.types.schema import ColSpec, Schema

    # By its name pip would take whatever an index has under it.
    source = f"# mirtune {version_of('mirtune')}, from its source: no package index has it, so pip is not told of it"
    requirements = [source, f"mlflow=={installed('mlflow')}"]
    (folder / REQUIREMENTS).write_text("\n".join(requirements) + "\n", encoding="utf-8")
    python = {**TOOLS, "dependencies": [f"-r {REQUIREMENTS}"]}
    (folder / PYTHON).write_text(yaml.safe_dump(python, sort_keys=False), encoding="utf-8")
    example = {"columns": [INPUT], "data": [["song.wav"]]}
    (folder / EXAMPLE).write_text(json.dumps(example), encoding="utf-8")
    (folder / SERVED_EXAMPLE).write_text(json.dumps({"dataframe_split": example}), encoding="utf-8")
    info = {"artifact_path": EXAMPLE, "serving_input_path": SERVED_EXAMPLE, "type": "dataframe"}
    # The input has no name: MLflow then takes lists of paths as well as tables.
    signature = ModelSignature(Schema([ColSpec("string")]), Schema([ColSpec(of, name) for name, of in COLUMNS.items()]))
    model = Model(
        artifact_path=artifact_path or None, run_id=run_id or None, signature=signature,
        saved_input_example_info={**info, "pandas_orient": "split"},
        model_size_bytes=sum(path.stat().st_size for path in folder.iterdir()),
    )  # fmt: skip
    add_to_model(model, loader_module=__name__, python_env=PYTHON)
    model.save(str(folder / MLMODEL))
