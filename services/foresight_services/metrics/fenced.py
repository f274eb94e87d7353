"""Text between Markdown fences, such as the code in a reply."""

from __future__ import annotations

from collections.abc import Iterator

_MARKS = ("```", "~~~")


def fenced_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the fenced blocks of `text` in order: language in lower case, and content.

    A fence is a line that begins, after any white space, with three backticks or tildes; a block
    ends with a line of the same mark, at least as long and bare, or with the text (CommonMark 4.5).
    """
    fence, language, content = "", "", list[str]()
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if not fence:
            if bare.startswith(_MARKS):
                label = bare.lstrip(bare[0])
                fence, content = bare[: len(bare) - len(label)], []
                language = (label.split() or [""])[0].lower()
        elif len(bare) >= len(fence) and bare == bare[:1] * len(bare) and bare[0] == fence[0]:
            yield language, "".join(content)
            fence = ""
        else:
            content.append(line)
    if fence:
        yield language, "".join(content)


def longest_block(text: str, languages: tuple[str, ...]) -> str:
    """Return the longest fenced block in one of `languages`, else the longest without a language.

    Where there is neither, the text itself; of equally long blocks the first one.
    """
    blocks = list(fenced_blocks(text))
    for wanted in (languages, ("",)):
        fitting = [content for language, content in blocks if language in wanted]
        if fitting:
            return max(fitting, key=len)
    return text
