"""The `vllm` backend: vLLM's own engine inside this process, with LoRA adapters by version.

A call becomes one request to the engine, which batches whatever is in flight token by token and
keeps the prefixes that it has read. The model's chat template is applied by vLLM itself, in its own
threads. The weights live in a child process, so that steps of the model never hold up our calls.

Every adapter gets a number and a name that no other adapter of this process ever had. vLLM finds
weights by the number and read prefixes by the name, so a version can meet neither the weights nor
the prefixes of another one, and a new version is loaded beside those that are in use: nothing in
flight is stopped, and requests end on the version they began with.

`vllm` is imported when the engine starts, never before. It is a heavy dependency of its own that
operators install where a model is configured with this backend.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.vllm_adapters import AdapterShelf
from foresight_services.models.vllm_settings import VllmSettings

if TYPE_CHECKING:
    from vllm.lora.request import LoRARequest
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

ENVIRONMENT: Final = {
    # A forked child would inherit the threads and sockets of our servers in an undefined state.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
}
"""What vLLM reads from the environment; only set where the operator has not."""

TOO_LONG: Final = "the conversation no longer fits the model's context"
SEED_BITS: Final = 63
"""vLLM's seeds are signed; choice `i` of a request is drawn with its seed + i."""


@dataclass(frozen=True, slots=True)
class _Running:
    """An engine that was started, and the adapters that it has loaded."""

    engine: AsyncLLM
    adapters: AdapterShelf[LoRARequest]


class VllmModel:
    """Plays any role by the base model of one engine; implements the port `ChatModel`."""

    def __init__(self, name: str, settings: VllmSettings) -> None:
        """Describe the engine of the model that the configuration calls `name`.

        The first call starts it, unless `start` did; an engine that has died is started again.
        """
        self._name = name
        self._settings = settings
        self._starting: asyncio.Task[_Running] | None = None
        self._adapters: dict[tuple[str, int, str], LoRARequest] = {}
        self._adapter_numbers = itertools.count(1)
        self._request_numbers = itertools.count(1)

    async def start(self) -> None:
        """Load the model; takes from seconds to minutes, and nothing if that was done before.

        Raises:
            ModelFault: BAD_REQUEST where vLLM is not installed or cannot serve the settings.
        """
        await self._running()

    async def aclose(self) -> None:
        """Stop the engine and whatever is in flight; another call would start it again."""
        starting, self._starting = self._starting, None
        if starting is not None:
            await _stop(starting)
            # An engine that is collected when the interpreter ends complains about it.
            del starting
            gc.collect()

    async def with_adapter(self, name: str, version: int, path: str) -> ChatModel:
        """Return the model that speaks by the LoRA adapter in the directory `path`.

        It is loaded now, beside those that are in use. The same name, version and path give the
        same adapter again.

        Raises:
            ModelFault: UNKNOWN_MODEL where `path` holds no adapter that this engine can load;
                BAD_REQUEST where the settings allow none.
        """
        if not self._settings.max_loras:
            raise self._told(FaultKind.BAD_REQUEST, "takes no LoRA adapters: `max_loras` is 0")
        running = await self._running()
        key = (name, version, path)
        adapter = self._adapters.get(key)
        if adapter is None:
            from vllm.lora.request import LoRARequest

            number = next(self._adapter_numbers)
            adapter = LoRARequest(f"{name}@{version}#{number}", number, path)
        async with running.adapters.holding(adapter.lora_int_id, adapter):
            self._adapters.setdefault(key, adapter)
        return _AdaptedModel(self, self._adapters[key])

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the base model's reply; a call that is cancelled leaves the engine at once.

        Raises:
            ModelFault: CONTEXT, EMPTY, OVERLOADED, SERVER_ERROR or BAD_REQUEST.
        """
        return await self._complete(request, None)

    async def _complete(self, request: ChatRequest, adapter: LoRARequest | None) -> ChatReply:
        running = await self._running()
        try:
            if adapter is None:
                output = await self._generate(running.engine, request, None)
            else:
                async with running.adapters.holding(adapter.lora_int_id, adapter):
                    output = await self._generate(running.engine, request, adapter)
        except Exception as error:
            raise self._fault(error) from error
        return self._reply(output)

    async def _generate(
        self, engine: AsyncLLM, request: ChatRequest, adapter: LoRARequest | None
    ) -> RequestOutput:
        from vllm.renderers.params import ChatParams
        from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

        template = {**self._settings.chat_template_kwargs, "add_generation_prompt": True}
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        _, (prompt,) = await engine.renderer.render_chat_async(
            [messages], ChatParams(chat_template_kwargs=template)
        )
        room = engine.model_config.max_model_len - len(prompt["prompt_token_ids"])
        if room < 1:
            raise self._told(FaultKind.CONTEXT, TOO_LONG)
        schema = None if request.schema is None else dict(request.schema)
        sampling = SamplingParams(
            n=request.choices,
            temperature=self._settings.temperature,
            top_p=self._settings.top_p,
            seed=request.seed % (1 << SEED_BITS),
            max_tokens=min(request.max_tokens, room),
            stop=list(request.stop),
            structured_outputs=None if schema is None else StructuredOutputsParams(json=schema),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        number = f"{self._name}-{next(self._request_numbers)}"
        # A cancelled call closes the outputs, and that takes the request from the engine.
        async with aclosing(
            engine.generate(prompt, sampling, number, lora_request=adapter)
        ) as outputs:
            async for output in outputs:
                if output.finished:
                    return output
        raise self._told(FaultKind.SERVER_ERROR, "the engine gave no reply")

    async def _running(self) -> _Running:
        """Return the engine, started by whoever asks first, and anew where it has died."""
        starting = self._starting
        if starting is None or _failed(starting):
            starting = self._starting = asyncio.create_task(self._start_after(starting))
        # A caller that leaves must not take the engine from the others that wait for it.
        return await asyncio.shield(starting)

    async def _start_after(self, previous: asyncio.Task[_Running] | None) -> _Running:
        if previous is not None:
            await _stop(previous)
        try:
            # Not as a thread's result, which vLLM would keep from being collected.
            launched: list[AsyncLLM] = []
            await asyncio.to_thread(lambda: launched.append(_launch(self._settings)))
            engine = launched.pop()
        except Exception as error:
            raise self._told(
                FaultKind.BAD_REQUEST, f"the vLLM engine does not start: {error}"
            ) from error

        async def load(adapter: LoRARequest) -> None:
            try:
                await engine.add_lora(adapter)
            except Exception as error:
                if engine.errored:
                    raise self._fault(error) from error
                problem = f"the LoRA adapter in {adapter.lora_path!r} cannot be loaded: {error}"
                raise self._told(FaultKind.UNKNOWN_MODEL, problem) from error

        async def unload(number: int) -> None:
            await engine.remove_lora(number)

        kept = self._settings.kept_adapters
        return _Running(engine, AdapterShelf(kept, load=load, unload=unload))

    def _told(self, kind: FaultKind, message: str) -> ModelFault:
        return ModelFault(kind, self._name, message)

    def _fault(self, error: Exception) -> ModelFault:
        """Return what `error`, which a call of the engine raised, is to us."""
        from vllm import exceptions

        if isinstance(error, ModelFault):
            return error
        if isinstance(error, exceptions.VLLMValidationError):
            # Prompts that are far too long are refused while they are split into tokens.
            if error.parameter in ("input_text", "input_tokens"):
                return self._told(FaultKind.CONTEXT, TOO_LONG)
        if isinstance(error, exceptions.VLLMClientError):
            return self._told(FaultKind.BAD_REQUEST, str(error))
        if isinstance(error, exceptions.GracefulHTTPError):
            return self._told(FaultKind.OVERLOADED, error.message)
        return self._told(FaultKind.SERVER_ERROR, f"{type(error).__name__}: {error}")

    def _reply(self, output: RequestOutput) -> ChatReply:
        choices = sorted(output.outputs, key=lambda choice: choice.index)
        ends = {choice.finish_reason for choice in choices}
        if not ends <= {"stop", "length"}:
            problem = f"the engine ended the reply: {', '.join(map(str, ends))}"
            raise self._told(FaultKind.SERVER_ERROR, problem)
        if not all(choice.text.strip() for choice in choices):
            raise self._told(FaultKind.EMPTY, "the reply is empty")
        read = len(output.prompt_token_ids or ())
        return ChatReply(
            text=choices[0].text,
            prompt_tokens=read,
            completion_tokens=sum(len(choice.token_ids) for choice in choices),
            cached_tokens=min(output.num_cached_tokens or 0, read),
            finish="stop" if choices[0].finish_reason == "stop" else "length",
            others=tuple(choice.text for choice in choices[1:]),
        )


class _AdaptedModel:
    """Speaks by one adapter of an engine; implements the port `ChatModel`."""

    def __init__(self, engine: VllmModel, adapter: LoRARequest) -> None:
        self._engine = engine
        self._adapter = adapter

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply of the adapter's version, whatever was loaded since."""
        return await self._engine._complete(request, self._adapter)


def _launch(settings: VllmSettings) -> AsyncLLM:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.async_llm import AsyncLLM

    arguments = settings.engine_args(on_cpu=current_platform.is_cpu())
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))


def _failed(starting: asyncio.Task[_Running]) -> bool:
    if not starting.done():
        return False
    return (
        starting.cancelled()
        or starting.exception() is not None
        or (starting.result().engine.errored)
    )


async def _stop(starting: asyncio.Task[_Running]) -> None:
    (running,) = await asyncio.gather(starting, return_exceptions=True)
    if isinstance(running, _Running):
        engine = running.engine
        # Only calls in flight need to hear of the end, which vLLM's listener takes for an error.
        if engine.output_handler is not None and not engine.get_num_unfinished_requests():
            engine.output_handler.cancel()
        await asyncio.to_thread(engine.shutdown)
