"""Tokenizers by name: `cl100k`, which ships; `words` and `whitespace`; files of the configuration.

Nothing is ever downloaded. Text that spells a special token is counted as plain text.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from foresight_services.core.errors import InvalidInput, Precondition, Reason, Upstream, Violation
from foresight_services.metrics.optional import missing_library
from foresight_services.metrics.tools import TokenCounter
from foresight_services.metrics.words import count_words

if TYPE_CHECKING:
    import tiktoken
    import tokenizers

CL100K_SHA256: Final = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""SHA-256 of the vocabulary of cl100k_base."""

# How cl100k_base divides a text into the pieces that it encodes one by one; see data/NOTICE.txt.
_CL100K_PATTERN: Final = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)


@runtime_checkable
class Divisible(Protocol):
    """A token counter under which some texts fall into parts that are counted each on its own."""

    def cut(self, text: str) -> int:
        """Return the last place where `text` can be divided, 0 for none.

        For p > 0 and any `rest`, the tokens of `text + rest` are those of `text[:p]` and those of
        `text[p:] + rest`.
        """
        ...


def last_cut(text: str) -> int:
    """Return the place of the last space in `text` that follows something else than white space.

    No word of any of our tokenizers, and no piece of cl100k_base, holds such a space and what is
    before it: a piece has a space at its start only, or is white space throughout. Nor does what
    comes after the space change the pieces before it, because none of them ends in white space
    there.
    """
    end = len(text)
    while (place := text.rfind(" ", 0, end)) > 0:
        end = len(text[:place].rstrip())
        if end == place:
            return place
        if end and text[end] == " ":
            return end
    return 0


class Words:
    """Words and punctuation marks; implements the ports `TokenCounter` and `Divisible`."""

    def count(self, text: str) -> int:
        """Return the number of words and marks in `text`."""
        return count_words(text)

    def cut(self, text: str) -> int:
        """Return where `text` can be divided; see the port."""
        return last_cut(text)


class Whitespace:
    """What white space divides, as in verl's recipe; implements `TokenCounter` and `Divisible`."""

    def count(self, text: str) -> int:
        """Return the number of parts of `text` between white space."""
        return len(text.split())

    def cut(self, text: str) -> int:
        """Return where `text` can be divided; see the port."""
        return last_cut(text)


class Cl100k:
    """OpenAI's cl100k_base; implements the ports `TokenCounter` and `Divisible`."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding = encoding

    def count(self, text: str) -> int:
        """Return the number of tokens; METRIC_FAILED for 100,000s of blanks in a row."""
        try:
            return len(self._encoding.encode_ordinary(text))
        except BaseException as error:
            # A panic of the library, which is no Exception: its pattern ran out of stack.
            if type(error).__name__ != "PanicException":
                raise
        raise Upstream(
            Reason.METRIC_FAILED,
            "cl100k cannot divide a text with so much white space in a row",
            metadata={"tokenizer": "cl100k"},
        )

    def cut(self, text: str) -> int:
        """Return where `text` can be divided; see the port."""
        return last_cut(text)


class FileTokenizer:
    """The tokenizer of a file `tokenizer.json`; implements the port `TokenCounter`."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer

    def count(self, text: str) -> int:
        """Return the number of tokens, none added."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))


class Tokenizers:
    """All tokenizers, each loaded once; implements the port `TokenCounters`."""

    def __init__(self, files: Mapping[str, str]) -> None:
        """Know the tokenizers of `files` too; InvalidInput where one has a name of ours."""
        for name in files:
            if name in _SHIPPED:
                what = "is the name of a tokenizer that ships; take another one"
                raise InvalidInput((Violation(f"evaluator.tokenizers.{name}", what),))
        self._files = {name: tokenizer_file(Path(path)) for name, path in files.items()}
        # What scores are cached by was told when the process started, so nothing else is loaded.
        self._digests = {name: _digest(file) for name, file in self._files.items()}
        self._loaded: dict[str, TokenCounter] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return (*_SHIPPED, *self._files)

    def get(self, name: str) -> TokenCounter:
        """Return the tokenizer called `name`; see the port. Takes up to a second the first time."""
        if name in _SHIPPED:
            return _SHIPPED[name]()
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = _from_file(name, self._files[name], self._digests[name])
            return self._loaded[name]


def tokenizer_file(path: Path) -> Path:
    """Return the file that `path` names, itself or as the folder that holds it."""
    return path / "tokenizer.json" if path.is_dir() else path


def _digest(file: Path) -> bytes | None:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return None


def _from_file(name: str, file: Path, digest: bytes | None) -> FileTokenizer:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise missing_library("token_amount", "tokenizers") from error
    if _digest(file) != digest:
        raise Precondition(
            Reason.METRIC_UNAVAILABLE,
            f"the file of the tokenizer {name!r} has changed since the evaluator started; start it"
            " again",
            metadata={"metric": "token_amount", "needs": f"evaluator.tokenizers.{name}"},
        )
    try:
        tokenizer = Tokenizer.from_str(file.read_text(encoding="utf-8"))
    # The library raises nothing more precise for a file that it cannot read.
    except Exception as error:
        raise Precondition(
            Reason.METRIC_UNAVAILABLE,
            f"the tokenizer {name!r} cannot be loaded ({type(error).__name__})",
            metadata={"metric": "token_amount", "needs": f"evaluator.tokenizers.{name}"},
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return FileTokenizer(tokenizer)


_cl100k_lock: Final = threading.Lock()


def _cl100k() -> Cl100k:
    # Not loaded twice by two threads.
    with _cl100k_lock:
        return _loaded_cl100k()


@functools.cache
def _loaded_cl100k() -> Cl100k:
    try:
        import tiktoken
    except ModuleNotFoundError as error:
        raise missing_library("token_amount", "tiktoken", extra="services") from error
    data = importlib.resources.files("foresight_services.metrics") / "data"
    vocabulary = (data / "cl100k_base.tiktoken").read_bytes()
    if hashlib.sha256(vocabulary).hexdigest() != CL100K_SHA256:
        raise Precondition(
            Reason.METRIC_UNAVAILABLE,
            "the vocabulary of cl100k is damaged; install foresight again",
            metadata={"metric": "token_amount", "needs": "cl100k_base.tiktoken"},
        )
    rows = (line.split() for line in vocabulary.splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    # Without special tokens, so that none is ever found in a text.
    return Cl100k(
        tiktoken.Encoding(
            "cl100k_base", pat_str=_CL100K_PATTERN, mergeable_ranks=ranks, special_tokens={}
        )
    )


_SHIPPED: Final[Mapping[str, Callable[[], TokenCounter]]] = {
    "cl100k": _cl100k,
    "words": Words,
    "whitespace": Whitespace,
}
