"""No text can act on a terminal."""

import pytest

from foresight_services.cli.terminal import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, [bold]x[/bold] :smile:", "plain, [bold]x[/bold] :smile:"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\x9b2Jb", r"a\x9b2Jb"),
        ("a\x07\x08\x00\x7f", r"a\x07\x08\x00\x7f"),
        ("over\rwritten", "over written"),
        ("tab\there", "tab here"),
        ("no\xa0break", "no break"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("line\u2028separator", r"line\u2028separator"),
        ("half \ud83d", r"half \ud83d"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("family 👨\u200d👩 naïve 日本", "family 👨\u200d👩 naïve 日本"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


def test_lines_are_kept_or_joined():
    assert printable("a\r\nb\n\nc") == "a\nb\n\nc"
    assert one_line("a\n  b\r\n\tc ") == "a b c"


def test_one_line_is_cut_to_the_limit_and_not_before():
    assert one_line("x" * 10, 10) == "x" * 10
    assert one_line("x" * 11, 10) == "x" * 9 + "…"
    assert len(one_line("\x1b" * 10_000_000, 10)) == 10
