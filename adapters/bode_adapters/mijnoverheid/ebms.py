"""The transport over Digikoppeling ebMS2: batches go to an ebMS adapter, results come from it as documents, later.

The adapter is ebms-core (its REST API); `ebms-adapter-client` speaks to it. That library waits in the thread that calls
it, so each call has a thread of this transport's own.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from json import JSONDecodeError
from typing import Final, TypeVar
from uuid import UUID

import httpx
from ebms_adapter_client import (
    EbmsAdapterClient,
    EbmsAdapterClientConfig,
    EbmsAdapterError,
    EbmsNotFoundError,
    Message,
    MessageEvent,
    MessageEventType,
    MessageFilter,
    MessageRequest,
)
from ebms_adapter_client.berichtenbox import BerichtenboxContractConfig, build_message_request

from bode_adapters.contract import (
    Absent,
    Answer,
    BoxMessage,
    Clock,
    Pending,
    RefusalKind,
    Refused,
    ResultDocument,
    Trouble,
    Unavailable,
    Unknown,
)
from bode_adapters.mijnoverheid import globe, limits
from bode_adapters.mijnoverheid.markup import UnreadableError
from bode_adapters.mijnoverheid.results import ResultAnswer, answer_of
from bode_adapters.mijnoverheid.settings import EbmsSettings, MijnOverheidSettings
from bode_adapters.rest import send, trouble

_T = TypeVar("_T")

SEND_STATUSES: Final[Mapping[int, Answer]] = {
    # ebms-core checks a message against the agreement (CPA) before it stores it.
    400: Refused("ebms_400", RefusalKind.CONFIGURATION, "cpa_id, a party, service or action is not in the CPA"),
    401: Refused("ebms_401", RefusalKind.CONFIGURATION, "the ebMS adapter does not accept username and password"),
    403: Refused("ebms_403", RefusalKind.CONFIGURATION, "username may not send"),
    404: Refused("ebms_404", RefusalKind.CONFIGURATION, "there is no ebMS adapter at base_url"),
    405: Refused("ebms_405", RefusalKind.CONFIGURATION, "there is no ebMS adapter at base_url"),
    413: Refused("ebms_413", RefusalKind.CONFIGURATION, "the ebMS adapter takes less than batch_megabytes"),
    408: Unavailable("ebms_408"),
    429: Unavailable("ebms_429"),
    503: Unavailable("ebms_503"),
}
"""What a status means for a batch that was not taken in. Any other 5xx leaves the outcome open."""

HAND_OVERS: Final[Mapping[MessageEventType, Answer | None]] = {
    # Acknowledged by the Berichtenbox's own ebMS adapter: not placed (L10), the result follows.
    MessageEventType.DELIVERED: None,
    # Never acknowledged. Should it have arrived after all, the next call's result is `BerichtBestaatAl`.
    MessageEventType.EXPIRED: Unavailable("ebms_EXPIRED"),
    # The other side answered with an ebMS error: signature, certificate or CPA. No message is to blame for it.
    MessageEventType.FAILED: Refused(
        "ebms_FAILED", RefusalKind.CONFIGURATION, "the other side refused the ebMS message: see the ebMS adapter's log"
    ),
    # Only about what came in.
    MessageEventType.RECEIVED: None,
}
"""What the ebMS adapter says about the hand-over of a batch; `None` is no news about its messages."""

_MOST_DOCUMENTS: Final = 50
"""Result documents read at once; the others come the next time."""


class EbmsTransport:
    """Hands batches to an ebMS adapter and reads the results that come back to it.

    Each batch has an ebMS message id made of its own id and the call's: a call repeated after `Unknown` has the same,
    and the ebMS adapter refuses to store it twice; a later call about the same messages has another, under the batch id
    they first came in. The Berichtenbox itself knows a message by its id (BerichtID), whatever it travels in.
    """

    def __init__(
        self,
        settings: MijnOverheidSettings,
        ebms: EbmsSettings,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        """Keep the settings; `transport` stands in for the network in a test."""
        self._settings = settings
        self._ebms = ebms
        self._clock = clock
        self._transport = transport
        self._calls: httpx.AsyncClient | None = None
        self._client: EbmsAdapterClient | None = None
        self._threads: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Make the client and its threads."""
        ebms = self._ebms
        config = EbmsAdapterClientConfig(str(ebms.connection.base_url), ebms.username, ebms.password)
        auth = httpx.BasicAuth(ebms.username, ebms.password or "") if ebms.username is not None else None
        self._calls = ebms.connection.client(headers={}, transport=self._transport)
        loop = asyncio.get_running_loop()
        http = httpx.Client(base_url=config.api_base_url, auth=auth, transport=_Through(self._calls, loop))
        self._client = EbmsAdapterClient(config, http_client=http)
        self._threads = ThreadPoolExecutor(ebms.connection.concurrency, thread_name_prefix="ebms")

    async def close(self) -> None:
        """Close the connections; a call that is under way ends in its own time."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
        if self._client is not None and self._calls is not None:
            self._client.close()
            await self._calls.aclose()
            self._client = self._calls = None

    async def hand_over(self, batch: UUID, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Hand over the messages of one call; an answer per message, in order."""
        by_batch: dict[UUID, list[BoxMessage]] = {}
        for message in messages:
            by_batch.setdefault(_first_batch(message) or batch, []).append(message)
        answers = await asyncio.gather(*(self._hand_over(batch, first, some) for first, some in by_batch.items()))
        by_message = {message: answer for given in answers for message, answer in given.items()}
        return [by_message[message.id] for message in messages]

    async def _hand_over(self, call: UUID, first: UUID, messages: Sequence[BoxMessage]) -> dict[UUID, Answer]:
        made = await self._threaded(
            lambda _: globe.batches(
                first,
                messages,
                leverancier=self._settings.leverancier_oin,
                created=self._clock(),
                most_bytes=self._ebms.batch_bytes,
            )
        )
        given: dict[UUID, Answer] = {}
        for one in made:
            given |= await self._send(call, one)
        return given

    async def _send(self, call: UUID, batch: globe.Batch) -> dict[UUID, Answer]:
        receipt = f"{batch.id}.{call}@bode"
        answer: Answer = Pending(receipt)
        try:
            await self._threaded(lambda client: client.send_message(self._request(receipt, batch)))
        except (EbmsAdapterError, httpx.HTTPError) as error:
            answer = _not_taken(error)
            if _status(error) == HTTPStatus.INTERNAL_SERVER_ERROR:
                return await self._after_failure(receipt, batch)
        return {message.id: answer for message in batch.messages}

    async def _after_failure(self, receipt: str, batch: globe.Batch) -> dict[UUID, Answer]:
        """Find out what status 500 meant: ebms-core gives it also for an id that it stored before."""
        try:
            known = await self._threaded(lambda client: client.get_message(receipt))
            held = globe.members(known.data_sources[0].content)
        except (EbmsNotFoundError, JSONDecodeError):
            # It stores a message whole or not at all, and does not have this one. (An empty answer is "not there" too.)
            return {message.id: Unavailable("ebms_500") for message in batch.messages}
        except (EbmsAdapterError, httpx.HTTPError, LookupError, TypeError, ValueError):
            return {message.id: Unknown("ebms_500") for message in batch.messages}
        return {
            # A call repeated in parts: what was not in the first batch never left.
            message.id: Pending(receipt, "known") if message.id in held else Absent("not_in_call")
            for message in batch.messages
        }

    def _request(self, receipt: str, batch: globe.Batch) -> MessageRequest:
        ebms = self._ebms
        contract = BerichtenboxContractConfig(cpa_id=ebms.cpa_id, service=ebms.service, action=ebms.action)
        request = build_message_request(
            contract=contract,
            from_party_id=ebms.from_party_id,
            to_party_id=ebms.to_party_id,
            bericht_id=str(batch.id),
            xml_content=batch.xml,
        )
        request.properties.message_id = receipt
        request.properties.conversation_id = str(batch.id)
        return request

    async def lookup(self, messages: Sequence[BoxMessage]) -> Sequence[Answer]:
        """Tell how the hand-over of each message's batch stands, asking once per receipt: results come by themselves.

        Without a receipt: `Unknown`, and the same batch should be handed over again, which places nothing twice.
        """
        receipts = list(dict.fromkeys(message.receipt for message in messages if message.receipt is not None))
        stands = dict(zip(receipts, await asyncio.gather(*map(self._hand_over_of, receipts)), strict=True))
        return [
            stands[message.receipt] if message.receipt is not None else Unknown("no_receipt") for message in messages
        ]

    async def _hand_over_of(self, receipt: str) -> Answer:
        def ask(client: EbmsAdapterClient) -> list[MessageEvent]:
            return client.list_unprocessed_message_events(MessageFilter(message_id=receipt))

        try:
            events = await self._threaded(ask)
        except (EbmsAdapterError, httpx.HTTPError) as error:
            # A question that failed says nothing about the messages, but wrong settings must be seen soon.
            answer = _not_taken(error)
            return answer if isinstance(answer, Refused) else Pending(receipt, _code(answer))
        except (LookupError, TypeError, ValueError):
            return Pending(receipt, "unreadable_answer")
        news = [found for event in events if (found := HAND_OVERS[event.type]) is not None]
        return news[-1] if news else Pending(receipt, f"ebms_{events[-1].type}" if events else None)

    async def probe(self) -> Sequence[Trouble]:
        """Ask for the newest document that waits; nothing is confirmed."""
        ebms = self._ebms
        wanted = MessageFilter(cpa_id=ebms.cpa_id, service=ebms.service, action=ebms.result_action)
        try:
            await self._threaded(lambda client: client.list_unprocessed_message_ids(wanted, max_nr=1))
        except (EbmsAdapterError, httpx.HTTPError) as error:
            return [trouble(_not_taken(error))]
        except (LookupError, TypeError, ValueError):
            return [Trouble("unreadable_answer", "there is no ebMS adapter at base_url")]
        return []

    # ---- results -------------------------------------------------------------------------------------------------

    async def results(self) -> Sequence[ResultDocument]:
        """Read result documents that were not confirmed, oldest first. Raises when the ebMS adapter cannot be read."""
        ebms = self._ebms
        wanted = MessageFilter(cpa_id=ebms.cpa_id, service=ebms.service, action=ebms.result_action)
        keys = await self._threaded(lambda client: client.list_unprocessed_message_ids(wanted, max_nr=_MOST_DOCUMENTS))
        found = [await self._document(key) for key in keys]
        return [document for document in found if document is not None]

    async def confirm(self, *, keys: Sequence[str]) -> None:
        """Mark documents as processed: the ebMS adapter gives them no more, and may erase them."""
        for key in keys:
            await self._threaded(partial(EbmsAdapterClient.process_message, message_id=key))

    async def _document(self, key: str) -> ResultDocument | None:
        try:
            message: Message = await self._threaded(lambda client: client.get_message(key))
        except EbmsNotFoundError:
            return None  # Somebody else took it in between.
        except (LookupError, TypeError, ValueError) as error:
            return ResultDocument(key, b"", fault=f"not what the ebMS adapter gives: {type(error).__name__}")
        content = b"\n".join(source.content for source in message.data_sources)
        if len(message.data_sources) != 1:
            return ResultDocument(key, content, fault=f"{len(message.data_sources)} documents instead of one")
        try:
            report = globe.read_report(content, now=self._clock())
        except UnreadableError as error:
            return ResultDocument(key, content, fault=str(error))
        answers: dict[UUID, ResultAnswer] = {
            identity: answer_of(results, report.moment, receipt=report.batch)
            for identity, results in report.results.items()
        }
        return ResultDocument(key, content, answers, report.batch)

    async def _threaded(self, call: Callable[[EbmsAdapterClient], _T]) -> _T:
        client, threads = self._client, self._threads
        if client is None or threads is None:
            raise RuntimeError("MijnOverheidBox is used before open() or after close()")
        return await asyncio.get_running_loop().run_in_executor(threads, call, client)


class _NoResponseError(httpx.TransportError):
    """There was no response; `answer` says what that means."""

    def __init__(self, answer: Unavailable | Unknown | Refused) -> None:
        super().__init__(answer.code)
        self.answer = answer


class _Through(httpx.BaseTransport):
    """Makes the calls of a client that waits in a thread in the event loop: over the same checked connections as any.

    What no response means is told by `rest.send`, and carried through the client in an error.
    """

    def __init__(self, client: httpx.AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make one call, waiting in this thread."""
        made = self._client.build_request(request.method, request.url, content=request.read(), headers=request.headers)
        most = limits.BATCH_BYTES * 2  # A batch of ours comes back in base64, within JSON.
        response = asyncio.run_coroutine_threadsafe(send(self._client, made, most_bytes=most), self._loop).result()
        if not isinstance(response, httpx.Response):
            raise _NoResponseError(response)
        return response


def _first_batch(message: BoxMessage) -> UUID | None:
    """Give the batch a message first came in: its first receipt, which is an ebMS message id, begins with it."""
    return UUID(message.first_receipt.partition(".")[0]) if message.first_receipt is not None else None


def _status(error: Exception) -> int | None:
    if isinstance(error, EbmsAdapterError):
        return error.status_code
    return error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None


def _not_taken(error: Exception) -> Answer:
    """Tell what an error means for a batch; its text can repeat what was sent, and is not kept."""
    status = _status(error)
    if status is None:
        cause = error.__cause__
        return cause.answer if isinstance(cause, _NoResponseError) else Unknown("connection_lost")
    if (answer := SEND_STATUSES.get(status)) is not None:
        return answer
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unknown(f"ebms_{status}")
    if httpx.codes.is_redirect(status):
        return Refused(f"ebms_{status}", RefusalKind.CONFIGURATION, "base_url is not the ebMS adapter: it redirects")
    return Refused(f"ebms_{status}", RefusalKind.UNRECOGNISED, f"HTTP status {status} is not in the contract")


def _code(answer: Answer) -> str | None:
    return answer.code if isinstance(answer, Unavailable | Unknown) else None
