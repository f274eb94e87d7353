"""Tokenizers by name: tiktoken's own numbers, and where a text can be divided."""

from __future__ import annotations

import hashlib
import importlib.resources
import sys
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load
import tiktoken_ext.openai_public
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from foresight_services.core.errors import InvalidInput, Precondition, Reason, Upstream
from foresight_services.metrics import tokenizers
from foresight_services.metrics.tokenizers import Divisible, Tokenizers, last_cut

# What cl100k_base's pattern tells apart: letters, digits, marks, blanks, line breaks, contractions.
PIECES = st.sampled_from(
    ["a", "The", "é", "東", "7", "2026", ".", "?!", "...", "'s", "'LL", "_", "😀", "<|endoftext|>"]
    + [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u2003", "\x1c", "\u200b", "́"]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=60
)
SHIPPED = ["cl100k", "words", "whitespace"]


@pytest.fixture(scope="module")
def reference() -> tiktoken.Encoding:
    """Return the encoding as the library itself defines it, its vocabulary read from ours."""
    data = importlib.resources.files("foresight_services.metrics") / "data"
    ranks: dict[bytes, int] = {}

    def load(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        assert url.endswith("/cl100k_base.tiktoken")
        assert expected_hash == hashlib.sha256(vocabulary).hexdigest()
        return ranks

    vocabulary = (data / "cl100k_base.tiktoken").read_bytes()
    with importlib.resources.as_file(data / "cl100k_base.tiktoken") as path:
        ranks = tiktoken.load.load_tiktoken_bpe(str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiktoken_ext.openai_public, "load_tiktoken_bpe", load)
        return tiktoken.Encoding(**tiktoken_ext.openai_public.cl100k_base())


@pytest.fixture(autouse=True, scope="module")
def no_cache() -> object:
    """Keep the library from copying files into a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        yield


@given(TEXTS)
def test_cl100k_counts_as_tiktoken_does(reference: tiktoken.Encoding, text: str) -> None:
    expected = len(reference.encode(text, disallowed_special=()))
    assert Tokenizers({}).get("cl100k").count(text) == expected


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("cl100k", "", 0),
        ("cl100k", "hello world", 2),
        ("cl100k", "<|endoftext|>", 7),
        ("words", "Is it alive?", 4),
        ("whitespace", " Is it\n alive? ", 3),
    ],
)
def test_each_tokenizer_counts_its_own_way(name: str, text: str, count: int) -> None:
    assert Tokenizers({}).get(name).count(text) == count


@pytest.mark.parametrize("name", SHIPPED)
@given(start=TEXTS, rest=TEXTS)
@example(start="a. b", rest="c")
@example(start="a ", rest="  b")
@example(start="a  ", rest="\n")
@example(start="don't 12 ", rest="345")
def test_a_text_can_be_divided_whatever_follows(name: str, start: str, rest: str) -> None:
    counter = Tokenizers({}).get(name)
    assert isinstance(counter, Divisible)
    place = counter.cut(start)
    assert counter.count(start + rest) == counter.count(start[:place]) + counter.count(
        start[place:] + rest
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", 0),
        ("word", 0),
        (" word", 0),
        ("a b c", 3),
        ("a b   ", 3),
        ("a b \n c", 3),
        ("a\n b", 0),
    ],
)
def test_a_text_is_divided_before_its_last_space_after_something(text: str, place: int) -> None:
    assert last_cut(text) == place


def test_cl100k_says_where_its_library_gives_up() -> None:
    with pytest.raises(Upstream, match="white space") as caught:
        Tokenizers({}).get("cl100k").count(" " * 1_000_000 + "x")
    assert caught.value.reason is Reason.METRIC_FAILED


def test_a_damaged_vocabulary_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizers, "CL100K_SHA256", "0" * 64)
    with pytest.raises(Precondition, match="damaged"):
        tokenizers._loaded_cl100k.__wrapped__()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """Return a folder with a tokenizer that cuts, pads, and has a special token."""
    tokenizer = Tokenizer(WordLevel({"a": 0, "<end>": 1, "<": 2, "end": 3, ">": 4}, "a"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9, pad_token="a")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_configured_file_counts_whole_texts_and_no_special_tokens(policy: Path) -> None:
    counters = Tokenizers({"policy": str(policy)})
    assert counters.names == ("cl100k", "words", "whitespace", "policy")
    assert counters.get("policy").count("a a a <end>") == 6
    assert counters.get("policy") is counters.get("policy")
    assert Tokenizers({"p": str(policy / "tokenizer.json")}).get("p").count("a") == 1


@pytest.mark.parametrize("content", [None, "{}", "no JSON"])
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Precondition, match="'mine' cannot be loaded") as caught:
        Tokenizers({"mine": str(path)}).get("mine")
    assert caught.value.metadata["needs"] == "evaluator.tokenizers.mine"


def test_a_configured_name_must_not_hide_ours() -> None:
    with pytest.raises(InvalidInput, match=r"evaluator\.tokenizers\.words"):
        Tokenizers({"words": "tokenizer.json"})


def test_a_missing_library_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(Precondition, match=r"foresight\[metrics\]"):
        Tokenizers({"policy": str(policy)}).get("policy")
