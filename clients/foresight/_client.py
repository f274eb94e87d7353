"""The sync client: one channel, opened by the first call, shared by all threads."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from foresight._channel import DEFAULT_MAX_ATTEMPTS, DEFAULT_TIMEOUT, Connection, Tls
from foresight._decode import decode_candidate, decode_rewards
from foresight._policies import PolicyCalls
from foresight._request import build_request
from foresight._results import Rewards
from foresight._stored import StoredCalls
from foresight._stream import Request, RewardEvent, RewardStream, as_message
from foresight.errors import from_rpc_error
from foresight.v1.policy_service_pb2_grpc import PolicyServiceStub
from foresight.v1.reward_service_pb2 import StreamRewardsRequest
from foresight.v1.reward_service_pb2_grpc import RewardServiceStub

__all__ = ["Client"]


class Client(PolicyCalls, StoredCalls):
    """Computes rewards. Safe to share between threads; use as a context manager or `close()` it.

    The channel is opened by the first call. Until then a client holds no connection, so that it can
    be pickled and its process can fork; afterwards a copy that is pickled opens its own. gRPC does
    not survive a fork: make the first call in the child. A pickled client contains its token.

    Args:
        target: Where the service is: `host:50051`, `dns:///foresight:50051`, the IP addresses of
            its replicas `10.0.0.1:50051,10.0.0.2:50051`, `unix:/run/foresight.sock`, or what else
            gRPC takes. Calls are spread over all addresses of a name or a list in turn.
        tls: TLS settings, `Tls()` for a public certificate. Default: plaintext.
        token: Bearer token. Without `tls` only for targets on this machine.
        timeout: Seconds that a call may take by default, greater than 0. The service answers
            before it with the best estimate so far.
        max_attempts: Attempts at a call while the service is unavailable, 1 to 5. No other failure
            is tried again, and no stream that has begun to answer.

    Raises:
        ValueError: An argument is out of its range, or a token would travel in plaintext.
    """

    _connection: Connection
    _channel: grpc.Channel | None
    _stubs: tuple[RewardServiceStub, PolicyServiceStub] | None

    def __init__(
        self,
        target: str,
        *,
        tls: Tls | None = None,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    ) -> None:
        self._setup(Connection(target, tls, token, timeout, max_attempts))

    def compute_rewards(
        self,
        *,
        task: Mapping[str, object],
        prefix: Sequence[Mapping[str, object]],
        candidates: Sequence[str],
        objective: Mapping[str, object] | None = None,
        simulation: Mapping[str, object] | None = None,
        request_id: str | None = None,
        include_futures: bool = False,
        budget: Mapping[str, object] | None = None,
        job: str | None = None,
        cache: str | None = None,
        timeout: float | None = None,
    ) -> Rewards:
        """Compute the rewards of several candidates to one prefix.

        Args:
            task: What the conversation is about: `preset`, `goal`, `reference`, ...
            prefix: Messages (`role`, `content`) up to the user message that is answered.
            candidates: Assistant responses to score, 1 to 256.
            objective: `profile` and `metrics`. Default: the preset's.
            simulation: `horizon_messages`, `samples`, `seed`, `policy`, `max_message_tokens`.
                Default: the preset's. `samples` is `{"max": 8}`, or as many up to `max` as it
                takes: with `target_stderr`, or with `decide`: `best` or `ranking`.
            request_id: The caller's own id of the request, of at most 128 characters. Asking again
                with it attaches to the request while it runs, and then gets its stored answer.
                Default: none.
            include_futures: Whether to return goals and messages of the futures as well.
            budget: `max_tokens` and `max_dollars` of all model calls together. Default: no limit.
            job: Name of the training job, for accounts. Default: none.
            cache: `default`, `bypass`, `read_only` or `refresh`.
            timeout: Seconds that the call may take. Default: the client's.

        Returns:
            One reward for every candidate, in order. A candidate that could not be scored has
            `value` `None` and an `error`; that does not raise.

        Raises:
            InvalidRequestError: A field is wrong; nothing was simulated.
            ForesightError: The whole call failed; see `foresight.errors`.
        """
        request = {
            "task": task,
            "prefix": prefix,
            "candidates": candidates,
            "objective": objective,
            "simulation": simulation,
            "request_id": request_id,
            "include_futures": include_futures,
            "budget": budget,
            "job": job,
            "cache": cache,
        }
        return self.send(build_request(request), timeout=timeout)

    def send(self, request: Request, *, timeout: float | None = None) -> Rewards:
        """Compute the rewards of a whole request: a message, or a mapping as in YAML or JSON.

        Returns and raises what `compute_rewards` does.
        """
        message = as_message(request)
        seconds = self._connection.deadline(timeout)
        try:
            response = self._stub().ComputeRewards(
                message, timeout=seconds, metadata=self._connection.metadata()
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error
        candidates = [decode_candidate(result) for result in response.results]
        return decode_rewards(response, candidates, len(message.candidates))

    def stream_rewards(
        self,
        requests: Iterable[Request],
        *,
        progress: bool = False,
        timeout: float | None = None,
    ) -> Generator[RewardEvent, None, None]:
        """Compute the rewards of many groups; each candidate's as soon as it is known.

        Closing the iterator, as leaving the loop does when nothing else holds it, cancels what is
        left of the stream.

        Args:
            requests: The groups, each a message or a mapping, read by another thread as the service
                takes them. A group without `request_id` is named by its position: "0", "1", ...
            progress: Whether to tell of every future that ends.
            timeout: Seconds that the whole stream may take. Default: the client's.

        Yields:
            A `CandidateEvent` for each candidate, a `FutureEvent` for each future where asked for,
            and a `GroupEvent` when a group has ended. A group that the service refuses has its
            error in its `GroupEvent`, and the stream goes on.

        Raises:
            InvalidRequestError: A field of a group is wrong; the stream ends.
            ForesightError: The whole stream failed; see `foresight.errors`.
        """
        seconds = self._connection.deadline(timeout)
        return self._stream(requests, RewardStream(progress=progress), seconds)

    def _stream(
        self, requests: Iterable[Request], stream: RewardStream, seconds: float
    ) -> Generator[RewardEvent, None, None]:
        outgoing = _Outgoing(requests, stream)
        call = self._stub().StreamRewards(
            outgoing.messages(), timeout=seconds, metadata=self._connection.metadata()
        )
        outgoing.call = call
        outgoing.started.set()
        try:
            for response in call:
                event = stream.decode(response)
                if event is not None:
                    yield event
        except grpc.RpcError as error:
            if outgoing.failure is None:
                raise from_rpc_error(error, self._connection.target) from error
        finally:
            call.cancel()
        if outgoing.failure is not None:
            raise outgoing.failure

    def close(self) -> None:
        """Close the channel; calls in flight are cancelled. A closed client stays closed."""
        with self._lock:
            self._closed = True
            if self._channel is not None:
                self._channel.close()
                self._channel = self._stubs = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._connection.describe()})"

    def __getstate__(self) -> Connection:
        return self._connection

    def __setstate__(self, connection: Connection) -> None:
        self._setup(connection)

    def _setup(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._channel = None
        self._stubs = None
        self._closed = False

    def _stub(self) -> RewardServiceStub:
        return self._open()[0]

    def _policy_stub(self) -> PolicyServiceStub:
        return self._open()[1]

    def _open(self) -> tuple[RewardServiceStub, PolicyServiceStub]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            if self._stubs is None:
                credentials = self._connection.credentials()
                options = self._connection.options()
                target = self._connection.target
                self._channel = (
                    grpc.insecure_channel(target, options)
                    if credentials is None
                    else grpc.secure_channel(target, credentials, options)
                )
                self._stubs = RewardServiceStub(self._channel), PolicyServiceStub(self._channel)
            return self._stubs


class _Outgoing:
    """The groups of a stream as gRPC's own thread takes them; keeps what the caller raised."""

    def __init__(self, requests: Iterable[Request], stream: RewardStream) -> None:
        self._requests = requests
        self._stream = stream
        self.call: Any = None
        self.started = threading.Event()
        self.failure: Exception | None = None

    def messages(self) -> Iterator[StreamRewardsRequest]:
        try:
            for request in self._requests:
                yield self._stream.encode(request)
        except Exception as failure:
            # gRPC would log this and report an unknown error; the reader raises it instead.
            self.failure = failure
            self.started.wait()
            self.call.cancel()
