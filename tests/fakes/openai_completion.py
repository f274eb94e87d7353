"""The bodies with which `tests.fakes.openai_server` answers calls."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.openai_server import Call, Reply

WORDS = (
    "yes no maybe red blue large small round old new this that one two three well then please "
    "thanks surely never always bread apple chair river stone paper"
).split()


def completion(call: Call, reply: Reply, *, schema: bool = True) -> dict[str, Any]:
    """Return the body that answers `call` with `reply`, following its schema where `schema`."""
    choices, written = [], 0
    for index in range(call.n if reply.choices is None else reply.choices):
        text, finish = _choice(call, reply, index, schema)
        written += len((text or "").split())
        message = {"role": "assistant", "content": text, **reply.message}
        choices.append({"index": index, "message": message, "finish_reason": finish})
    read = len(call.prompt.split()) if reply.prompt_tokens is None else reply.prompt_tokens
    usage: dict[str, Any] = {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }
    if reply.cached_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": reply.cached_tokens}
    return {
        "id": f"chatcmpl-{call.number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": call.model,
        "choices": choices,
        "usage": usage,
    }


def _choice(call: Call, reply: Reply, index: int, schema: bool) -> tuple[str | None, str]:
    text: str | None
    if isinstance(reply.text, str):
        text = reply.text
    elif reply.text is not None:
        text = reply.text[index]
    else:
        named = json.dumps([call.model, call.messages, (call.seed or 0) + index])
        rng = random.Random(hashlib.sha256(named.encode()).digest())
        if schema and call.schema is not None:
            text = json.dumps(_instance(call.schema, rng))
        else:
            text = _sentence(rng)
    finish = "stop"
    if text is not None:
        stop = call.body.get("stop") or ()
        for end in (stop,) if isinstance(stop, str) else stop:
            text = text.split(end)[0]
        words, limit = text.split(), call.body.get("max_tokens")
        if limit is not None and len(words) > limit:
            text, finish = " ".join(words[:limit]), "length"
    return text, reply.finish or finish


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(3, 12))) + "."


def _instance(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """Return a value that follows the simple `schema`."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kinds = schema.get("type", "object")
    match kinds if isinstance(kinds, str) else kinds[0]:
        case "object":
            return {name: _instance(s, rng) for name, s in schema.get("properties", {}).items()}
        case "array":
            least = schema.get("minItems", 0)
            return [_instance(schema.get("items", {}), rng) for _ in range(least)]
        case "string":
            return _sentence(rng)
        case "integer":
            return rng.randint(schema.get("minimum", 0), schema.get("maximum", 10))
        case "number":
            return round(rng.uniform(schema.get("minimum", 0), schema.get("maximum", 1)), 3)
        case "boolean":
            return rng.random() < 0.5
    return None
