"""What holds for every call: a token, an error with its reason, a measurement."""

from __future__ import annotations

import asyncio
import hmac
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from foresight_services.core.errors import Unauthenticated, failure_from
from foresight_services.core.ports import Clock
from foresight_services.rpc.deadline import ServerContext
from foresight_services.rpc.status import CODES, encode_failure

RequestObserver = Callable[[str, str, str, float], None]
"""Told service, method, code and seconds of every call."""

OPEN_TO_ALL: Final = ("grpc.health.v1.Health",)
"""Services that need no token: probes carry none."""

DETAILS_KEY: Final = "grpc-status-details-bin"
"""Trailing metadata that carries google.rpc.Status."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Checks the token of every call, maps errors to statuses, and measures."""

    def __init__(self, *, clock: Clock, observe: RequestObserver, token: str | None) -> None:
        self._clock = clock
        self._observe = observe
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        _, service, method = handler_call_details.method.split("/", 2)
        allowed = service in OPEN_TO_ALL or self._allows(handler_call_details)
        if handler.response_streaming:
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            behavior = self._stream(handler, service, method, allowed)
        else:
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            behavior = self._unary(handler, service, method, allowed)
        return make(behavior, handler.request_deserializer, handler.response_serializer)

    def _allows(self, details: grpc.HandlerCallDetails) -> bool:
        if self._expected is None:
            return True
        given = dict(details.invocation_metadata or ()).get("authorization", b"")
        given = given.encode() if isinstance(given, str) else given
        return hmac.compare_digest(given, self._expected)

    def _unary(self, handler: Handler, service: str, method: str, allowed: bool) -> Any:
        inner: Any = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def call(request: Any, context: ServerContext) -> Any:
            async with self._outcome(service, method, allowed, context):
                return await inner(request, context)

        return call

    def _stream(self, handler: Handler, service: str, method: str, allowed: bool) -> Any:
        inner: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def call(request: Any, context: ServerContext) -> AsyncIterator[Any]:
            async with self._outcome(service, method, allowed, context):
                responses = inner(request, context)
                if inspect.isawaitable(responses):  # it writes to the context, as Health.Watch does
                    await responses
                    return
                async with aclosing(responses):
                    async for response in responses:
                        yield response

        return call

    @asynccontextmanager
    async def _outcome(
        self, service: str, method: str, allowed: bool, context: ServerContext
    ) -> AsyncIterator[None]:
        """Run one call; tell its error to the caller and its code and time to the observer."""
        start = self._clock.now()
        code = grpc.StatusCode.OK
        try:
            if not allowed:
                raise Unauthenticated("the call needs the metadata `authorization: Bearer <token>`")
            yield
        except (asyncio.CancelledError, GeneratorExit):
            code = grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.AbortError:
            code = context.code()
            raise
        except Exception as error:
            failure = failure_from(error)
            code = CODES[failure.family]
            status = encode_failure(failure)
            details = ((DETAILS_KEY, status.SerializeToString()),)
            await context.abort(code, status.message, details)
        finally:
            self._observe(service, method, code.name, self._clock.now() - start)
