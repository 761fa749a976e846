"""Progress, notes, tables and colours: on a terminal, in a pipe, and under --quiet."""

import io
import sys
from contextlib import suppress

from rich.table import Table

from tuner import telling
from tuner.commands.common import print_table


def test_progress_is_lines_where_there_is_no_terminal(capsys, monkeypatch):
    clock = iter(range(0, 100, 3))
    monkeypatch.setattr(telling.time, "monotonic", lambda: float(next(clock)))
    with telling.Progress("heard", 4, "songs") as progress:
        for number in range(4):
            progress.advance(1, f"[red]{number}\x1b[2J")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("heard 4 of 4 songs, ")
    assert lines[-1].endswith(r"([red]3\x1b[2J)")
    assert 1 < len(lines) < 4  # one in five seconds, and the last


def test_progress_without_a_total_and_with_an_error_between(capsys):
    with telling.Progress("read", None, "files") as progress:
        progress.advance(2)
    with suppress(OSError), telling.Progress("read", 5, "files") as progress:
        progress.advance()
        raise OSError
    assert capsys.readouterr().err == "read 2 files, 0 s\n"


def test_quiet_hides_progress_and_notes_but_no_warnings(capsys):
    with telling.quiet(), telling.Progress("read", 1, "files") as progress:
        progress.advance()
        telling.say("a note")
        telling.warn("a warning")
    telling.say("heard again")
    assert capsys.readouterr().err == "a warning\nheard again\n"


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for kind, drawn in (("xterm-256color", True), ("dumb", False)):
        shown = Terminal()
        monkeypatch.setattr(sys, "stderr", shown)
        monkeypatch.setenv("TERM", kind)
        with telling.Progress("heard", 2, "songs") as progress:
            progress.advance(2)
        assert ("\x1b[" in shown.getvalue()) is drawn
        assert "2 of 2 songs" in shown.getvalue()


def test_a_table_too_wide_for_the_terminal_is_turned_and_piped_it_is_whole(monkeypatch, capsys):
    def wide() -> Table:
        table = Table(title="a corpus")
        for number in range(12):
            table.add_column(f"column {number}")
        table.add_row(*(f"value {number}" for number in range(12)))
        return table

    print_table(wide())
    assert any("value 0" in line and "value 11" in line for line in capsys.readouterr().out.splitlines())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_table(wide())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for number in range(1, 12):
        assert any(line.split() == ["column", str(number), "value", str(number)] for line in lines)


def test_colours_stay_out_of_pipes_and_obey_the_environment(monkeypatch, capsys):
    table = Table("name", header_style="bold red")
    table.add_row("value", style="green")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    print_table(table)
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_table(table)
    assert "\x1b[32m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")  # which forbids colours, not bold
    print_table(table)
    shown = capsys.readouterr().out
    assert "\x1b[1m" in shown
    assert "\x1b[32m" not in shown
