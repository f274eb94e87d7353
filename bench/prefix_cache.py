"""How much of the user simulator's prompts a real vLLM finds in its prefix cache, by their order.

    make bench-prefix

The same requests are sent twice to one `vllm serve` on the CPU: as Foresight prompts the simulated
user, instructions first and conversation last, and with the same content in the other order,
conversation first. The rates are vLLM's own counters, in tokens; the model is tiny and random, for
what it answers does not matter here.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import aiohttp

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.simulator.prompting.personas import PersonaBook
from foresight_services.simulator.prompting.user import PromptedUser, PromptedUserSettings
from tests.fakes.tiny_model import make_tiny_model
from tests.fakes.virtual_time import LoopClock
from tests.vllm.serving import Served, free_port, serving, vllm_serve

CANDIDATES: Final = 4
"""Responses per prefix, a group."""

SAMPLES: Final = 3
"""Futures per candidate; each has a persona, the same one for all candidates."""

USER_TURNS: Final = 3
"""User turns per future."""

REPLY_TOKENS: Final = 16
CONTEXT_TOKENS: Final = 8192
BLOCK_TOKENS: Final = 32
"""The smallest that vLLM has on a CPU; on a GPU it is 16."""

GOALS: Final = (
    ("You solve a mathematics problem together.", "Find the positive x with x^2 + x = 6."),
    ("You write a document together.", "A short story about a lighthouse keeper who hears a song."),
    ("You write a program together.", "A function that merges two sorted lists into one."),
    ("You plan a journey together.", "Four days in Lisbon in May with two small children."),
)
QUESTION: Final = (
    "Before I begin: what do you already have, and what matters most to you in the end?"
)
ANSWER: Final = "I have a rough idea only. It should be easy to follow, and please keep it short."

Order = Callable[[Conversation], Conversation]


def as_prompted(prompt: Conversation) -> Conversation:
    """Leave the prompt as Foresight makes it."""
    return prompt


def conversation_first(prompt: Conversation) -> Conversation:
    """Move the conversation before everything else of the prompt, whose content stays the same."""
    system, last = prompt
    facts, tag, conversation = last.content.partition("<turn ")
    assert tag, "the prompt ends with its conversation"
    first = f"{tag}{conversation}\n{system.content}"
    return (replace(system, content=first), replace(last, content=facts))


def turns(user: PromptedUser, personas: tuple[str, ...]) -> Iterator[list[ChatRequest]]:
    """Yield, turn by turn, what every future asks for."""
    for turn in range(USER_TURNS):
        asked = []
        for description, goal in GOALS:
            for candidate in range(CANDIDATES):
                for sample in range(SAMPLES):
                    said = [Message("user", f"Can you help me? {goal}")]
                    said.append(
                        Message("assistant", f"Gladly, here is way {candidate}. {QUESTION}")
                    )
                    for past in range(turn):
                        said.append(Message("user", f"({sample}.{past}) {ANSWER}"))
                        said.append(Message("assistant", f"Thank you. {QUESTION}"))
                    request = ChatRequest(
                        "user",
                        Task(description=description, goal=goal),
                        tuple(said),
                        seed=sample,
                        max_tokens=REPLY_TOKENS,
                        ledger=Ledger(),
                        persona=personas[sample % len(personas)],
                    )
                    asked.append(replace(request, prompt=user.prompt(request)))
        yield asked


async def measure(served: Served, batches: list[list[ChatRequest]], order: Order) -> str:
    """Send all requests in `order` and return the row of the table."""
    settings = OpenAISettings(
        "tiny", f"{served.url}/v1", model="tiny", api_key=None, temperature=1.0
    )
    async with aiohttp.ClientSession() as session:
        await session.post(f"{served.url}/reset_prefix_cache")
    asked, found = (
        served.metric(f"vllm:prefix_cache_{name}_total") for name in ("queries", "hits")
    )
    model, start = OpenAIModel(settings, clock=LoopClock()), time.perf_counter()
    for batch in batches:
        requests = [replace(request, prompt=order(request.prompt)) for request in batch]
        await asyncio.gather(*(model.complete(request) for request in requests))
    seconds = time.perf_counter() - start
    await model.aclose()
    asked = served.metric("vllm:prefix_cache_queries_total") - asked
    found = served.metric("vllm:prefix_cache_hits_total") - found
    return f"{asked:>14,.0f} {found:>12,.0f} {found / asked:>9.1%} {seconds:>9.1f}"


async def compare(served: Served, batches: list[list[ChatRequest]]) -> None:
    """Print the table."""
    calls = sum(len(batch) for batch in batches)
    print(
        f"{calls} calls for the user's next message: {len(GOALS)} prefixes x {CANDIDATES}"
        f" candidates x {SAMPLES} futures x {USER_TURNS} turns; blocks of {BLOCK_TOKENS} tokens"
    )
    print(
        f"{'order of the prompt':<28} {'prompt tokens':>14} {'from cache':>12} {'hit rate':>9}"
        f" {'seconds':>9}"
    )
    for name, order in (
        ("Foresight: conversation last", as_prompted),
        ("conversation first", conversation_first),
    ):
        print(f"{name:<28} {await measure(served, batches, order)}", flush=True)


def main() -> None:
    """Run the bench."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    personas = PersonaBook()
    user = PromptedUser(_NoModel(), settings=PromptedUserSettings(termination_signal="[[END]]"))
    batches = list(turns(user, personas.names))
    texts = [message.content for message in batches[-1][0].prompt]
    with tempfile.TemporaryDirectory() as folder:
        path = make_tiny_model(Path(folder) / "tiny", context_tokens=CONTEXT_TOKENS, texts=texts)
        port = free_port()
        command = vllm_serve(path, port, "--served-model-name=tiny", f"--block-size={BLOCK_TOKENS}")
        with serving(command, port, log=Path(folder) / "log") as served:
            asyncio.run(compare(served, batches))


class _NoModel:
    """Stands where nothing is asked: only prompts are made."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        raise NotImplementedError


if __name__ == "__main__":
    main()
