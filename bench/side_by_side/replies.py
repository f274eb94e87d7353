"""What the models say: plain sentences, chosen by the digest of the call, with its tag at the end.

Judges are told apart by what their prompts ask for, so that both sides get verdicts they can use.
"""

from __future__ import annotations

import json
import re
from typing import Final

_CASE: Final = re.compile(r"\(case (\w+)\)")
_TAG_BEFORE: Final = "[ref "
_TAG_LENGTH: Final = 12

# So many that no user says the same twice in a conversation, which Foresight would not let pass.
_DID: Final = (
    "i tried it with small numbers",
    "my book does it another way",
    "i wrote it down once more",
    "we had this in class last week",
    "a friend showed me a shortcut",
    "i drew both sides as curves",
    "i asked my sister about it",
    "my teacher marked it in red",
)
_ASKED: Final = (
    "the second step",
    "the sign in front",
    "that common factor",
    "the domain of the root",
    "the very last line",
    "the check at the end",
    "the middle term",
    "the smaller number",
)
_FELT: Final = (
    "looks odd to me",
    "made sense at last",
    "is where i stop every time",
    "differs in my notes",
    "came out negative again",
    "was never explained to us",
    "seems too easy somehow",
    "does not fit the graph",
)
_USER: Final = tuple(
    f"{did}, and {asked} {felt}." for did in _DID for asked in _ASKED for felt in _FELT
)
_FIRST: Final = ("Bring every term to one side", "Square both sides", "Name the unknown length x")
_THEN: Final = ("divide by the common factor", "check each root in the original", "draw the graph")
_WHY: Final = (
    "because squaring can add solutions that were not there before",
    "since only then both brackets have to be looked at on their own",
    "as the product is zero exactly when one of the factors is",
    "for a root is never negative and the right side therefore cannot be",
)
_POLICY: Final = tuple(
    f"{first} and then {then}, {why}." for first in _FIRST for then in _THEN for why in _WHY
)


def case_of(prompt: str) -> str:
    """Return the candidate that `prompt` was made for, or nothing."""
    found = _CASE.search(prompt)
    return found[1] if found else ""


def parent_of(prompt: str) -> str:
    """Return the last tag in `prompt`, or nothing."""
    place = prompt.rfind(_TAG_BEFORE)
    begin = place + len(_TAG_BEFORE)
    return prompt[begin : begin + _TAG_LENGTH] if place >= 0 else ""


def tag_of(digest: bytes) -> str:
    """Return the tag of the call with this digest."""
    return digest.hex()[:_TAG_LENGTH]


def reply(role: str, prompt: str, digest: bytes, choice: int = 0) -> str:
    """Return what the model that plays `role` answers; ValueError where it has no such part."""
    mark = f"{_TAG_BEFORE}{tag_of(digest)}]"
    match role:
        case "policy":
            return f"{_sentences(_POLICY, digest, choice, 4)} Does that help? {mark}"
        case "user":
            said = f"{_sentences(_USER, digest, choice, 2)} {mark}"
            if '"current_answer"' in prompt:
                return json.dumps(
                    {"current_answer": "x", "thought": "Not there yet.", "response": said}
                )
            return json.dumps({"thought": "Not there yet.", "message": said, "done": False})
        case "judge":
            return _verdict(prompt, digest, mark)
    raise ValueError(f"no model is called {role!r}")


def _verdict(prompt: str, digest: bytes, mark: str) -> str:
    if '"final_completion"' in prompt:
        return json.dumps({"thought": "In the end.", "final_completion": f"x = 3 {mark}"})
    if '"artifact"' in prompt:
        return json.dumps({"thought": "In the end.", "artifact": f"x = 3 {mark}"})
    reason = "rationale" if '"rationale"' in prompt else "thought"
    for key, score in (("accuracy", digest[0] % 2), ("interactivity", digest[0] % 11 / 10)):
        if f'"{key}"' in prompt:
            return json.dumps({reason: "It follows from what was said.", key: score})
    raise ValueError("no judge is asked like this")


def _sentences(known: tuple[str, ...], digest: bytes, choice: int, count: int) -> str:
    number = int.from_bytes(digest[1:9], "big") + choice
    chosen = []
    for _ in range(count):
        number, index = divmod(number, len(known))
        chosen.append(known[index])
    return " ".join(chosen)
