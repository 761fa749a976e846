"""Completion of the command line in real shells."""

import os
import shlex
import shutil
import subprocess
import sys

import pytest

from data_prep.corpora import CORPORA
from search_spaces import SPACES
from tuner.cli import parser
from tuner.commands.completion import EXAMPLES
from tuner.completion import architectures, corpora, script
from tuner.parser import broken

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80"}


def test_completion_knows_the_names_and_loads_neither_torch_nor_ray():
    assert architectures() == sorted(SPACES)
    assert corpora() == sorted(CORPORA)
    code = "import sys; from tuner.cli import main; main(['completion', 'bash']); "
    code += "assert not {'torch', 'ray', 'mlflow', 'pandas', 'matplotlib', 'partitura'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert done.stdout == script(parser(), "bash") + "\n"


def complete(text: str, folder, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    function = next(line.split()[-2] for line in text.splitlines() if line.startswith("complete "))
    quoted = " ".join(map(shlex.quote, words))
    ask = f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; {function}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    shell = ["bash", "--norc", "-c", f"{text}\n{ask}"]
    return subprocess.run(shell, capture_output=True, text=True, check=True, cwd=folder).stdout.split()


def test_bash_completes_commands_options_names_and_folders(tmp_path):
    (tmp_path / "music").mkdir()
    (tmp_path / "mine.wav").touch()
    text = script(parser(), "bash")
    offered = [
        complete(text, tmp_path, "mirtune", "swe"),
        complete(text, tmp_path, "mirtune", "sweep", "--max-e"),
        complete(text, tmp_path, "mirtune", "sweep", "--architecture", "c"),
        complete(text, tmp_path, "mirtune", "sweep", "--recipe", ""),
        complete(text, tmp_path, "mirtune", "prep", "md"),
        complete(text, tmp_path, "mirtune", "prep", "mdb", "--source", "m"),
    ]
    assert offered == [
        ["sweep"],
        ["--max-epochs"],
        ["cnn", "conv_transformer", "crnn"],
        ["study", "mirtune"],
        ["mdb"],
        ["music"],
    ]


@pytest.mark.parametrize("line", [line for _, line in EXAMPLES])
def test_examples_can_be_pasted_where_no_folder_is_yet(line, tmp_path):
    called = f'mirtune() {{ {shlex.quote(sys.executable)} -m tuner.cli "$@"; }}'
    pasted = "\n".join(broken(line, 4))
    home = {**ENVIRONMENT, "HOME": str(tmp_path)}
    subprocess.run(["bash", "--norc", "-e", "-c", f"{called}\n{pasted}"], env=home, check=True, capture_output=True)
    (written,) = (path for path in tmp_path.rglob("*") if path.is_file())
    shell = shlex.split(line)[-3]
    assert written.read_text(encoding="utf-8") == script(parser(), shell) + "\n"
    if shell == "bash":
        subprocess.run(["bash", "-n", str(written)], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
def test_zsh_can_read_its_completion(tmp_path):
    (tmp_path / "_mirtune").write_text(script(parser(), "zsh"))
    subprocess.run(["zsh", "-n", str(tmp_path / "_mirtune")], check=True, capture_output=True)
    loads = f"fpath=({tmp_path} $fpath); autoload -Uz compinit && compinit -u -d {tmp_path}/dump && whence -w _mirtune"
    done = subprocess.run(["zsh", "-f", "-c", loads], check=True, capture_output=True, text=True)
    assert done.stdout == "_mirtune: function\n"
