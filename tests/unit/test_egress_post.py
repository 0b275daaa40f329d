"""Posts to receivers that answer, drip, hang, reset, flood; all over real sockets on this machine."""

import asyncio
import socket
import threading

import pytest
import uvloop

from kurir.runtime.addresses import AddressGuard
from kurir.runtime.egress import Answer, Egress, EgressPolicy, TransportFailure, header_refusal
from tests.support.conditions import until
from tests.support.webhook_receiver import Reply, WebhookReceiver

INSIDE = AddressGuard.parse(["127.0.0.0/8"])


def an_egress(**policy: object) -> Egress:
    """One that may reach this machine."""
    return Egress(EgressPolicy(guard=INSIDE, **policy))  # type: ignore[arg-type]


async def post(egress: Egress, url: str, deadline_s: float = 10.0, body: bytes = b"{}") -> Answer:
    """A post of which only the answer matters."""
    return await egress.post(url, headers=(), body=body, deadline_s=deadline_s)


async def failure_of(egress: Egress, url: str, deadline_s: float = 10.0) -> TransportFailure:
    """What a post fails with."""
    with pytest.raises(TransportFailure) as raised:
        await post(egress, url, deadline_s)
    return raised.value


async def test_body_bytes_and_header_order_and_case_arrive_as_given() -> None:
    body = bytes(range(256)) * 20
    headers = [
        ("X-B", "two  spaces; and, more"),
        ("content-type", "application/cloudevents+json"),
        ("X-a", "ünï"),
        ("X-B", "again"),
        ("X-Empty", ""),
    ]
    async with WebhookReceiver() as receiver, an_egress() as egress:
        await egress.post(receiver.url("/hook?a=1"), headers=headers, body=body, deadline_s=10.0)
        (request,) = await receiver.wait_for()
    assert (request.method, request.target, request.body) == ("POST", "/hook?a=1", body)
    sent = [(name, value.encode("latin-1").decode()) for name, value in request.headers]
    assert [header for header in sent if header in headers] == headers
    assert dict(sent)["Content-Length"] == str(len(body))
    assert dict(sent)["Accept-Encoding"] == "identity"


async def test_an_answer_tells_status_headers_body_and_who_gave_it() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(503, b"later", headers=[("X-One", "1"), ("x-one", "2")], retry_after=120))
        answer = await post(egress, receiver.url())
    assert (answer.status, answer.body, answer.truncated) == (503, b"later", False)
    assert (answer.headers["retry-after"], answer.headers["x-one"]) == ("120", "1, 2")
    assert answer.address == "127.0.0.1"
    assert answer.milliseconds > 0
    assert abs(answer.started_at - receiver.received[0].at) < 60


async def test_a_body_without_content_type_claims_none() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        await post(egress, receiver.url())
    assert receiver.received[0].header("content-type") is None


async def test_an_empty_and_a_large_body_arrive() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        for body in (b"", b"x" * 3_000_000):
            await post(egress, receiver.url(), body=body)
        assert [request.body for request in receiver.received] == [b"", b"x" * 3_000_000]
        assert receiver.received[1].header("expect") is None


async def test_connections_are_used_again() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        answers = [await post(egress, receiver.url()) for _ in range(20)]
        await asyncio.gather(*(post(egress, receiver.url(host="localhost")) for _ in range(5)))
        await asyncio.gather(*(post(egress, receiver.url(host="localhost")) for _ in range(5)))
    assert [answer.reused_connection for answer in answers] == [False] + [True] * 19
    assert {request.connection for request in receiver.received[:20]} == {1}
    assert receiver.connections <= 6


async def test_a_kept_connection_that_the_receiver_closed_is_replaced_unnoticed() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(close_after=True))
        assert [(await post(egress, receiver.url())).status for _ in range(5)] == [204] * 5
        await receiver.stop()
        assert (await failure_of(egress, receiver.url())).kind == "connect"
        await receiver.start()
        assert (await post(egress, receiver.url())).status == 204


async def test_redirects_are_answers_and_not_followed() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(308, redirect_to=receiver.url("/elsewhere")))
        answer = await post(egress, receiver.url())
    assert answer.status == 308
    assert [request.path for request in receiver.received] == ["/"]


async def test_a_long_answer_is_cut_at_the_cap_with_its_status_kept() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/long", Reply(200, b"y" * 5_000_000))
        receiver.on("/exact", Reply(200, b"y" * 16_384))
        long, exact = await post(egress, receiver.url("/long")), await post(egress, receiver.url("/exact"))
    assert (long.status, long.body, long.truncated) == (200, b"y" * 16_384, True)
    assert (exact.status, len(exact.body), exact.truncated) == (200, 16_384, False)


async def test_an_answer_with_huge_headers_is_refused() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(200, headers=[(f"X-{number}", "z" * 1000) for number in range(40)]))
        receiver.on("/line", Reply(200, headers=[("X", "z" * 60_000)]))
        for path in ("/", "/line"):
            failure = await failure_of(egress, receiver.url(path))
            assert failure.kind == "protocol"
            assert "headers" in failure.detail


@pytest.mark.parametrize(
    "reply",
    [
        Reply(hang=True),
        Reply(200, b"z" * 10_000, drip_every_s=0.02),
        Reply(200, b"z" * 10_000, drip_headers_every_s=0.1),
    ],
    ids=["hangs", "drips its body", "drips its headers"],
)
async def test_the_deadline_ends_what_a_receiver_draws_out(reply: Reply) -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", reply)
        failure = await failure_of(egress, receiver.url(), deadline_s=1.0)  # the headers are sooner there
        await until("the receiver sees its connection closed", lambda: receiver.cut_short == 1)
    assert (failure.kind, failure.address) == ("timeout", "127.0.0.1")
    assert failure.status == (200 if reply.drip_every_s else None)
    assert egress.in_flight == 0


@pytest.mark.parametrize(
    "reply", [Reply(reset=True), Reply(200, b"z" * 100, cut_body_at=50)], ids=["resets", "stops in the body"]
)
async def test_an_answer_cut_off_is_a_reset(reply: Reply) -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", reply)
        assert (await failure_of(egress, receiver.url())).kind == "reset"


async def test_a_refused_connection_is_told_apart_and_names_no_older_peer() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        await post(egress, receiver.url())
        with socket.socket() as taken:
            taken.bind(("127.0.0.2", 0))
            failure = await failure_of(egress, f"http://127.0.0.2:{taken.getsockname()[1]}/")
    assert (failure.kind, failure.address) == ("connect", "127.0.0.2")


async def test_a_name_without_addresses_fails_as_dns() -> None:
    async with an_egress() as egress:
        failure = await failure_of(egress, "https://no-such-name.invalid/")
    assert (failure.kind, failure.address) == ("dns", None)


async def test_what_does_not_speak_http_is_a_protocol_failure() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server, an_egress() as egress:
        port = server.sockets[0].getsockname()[1]
        assert (await failure_of(egress, f"http://127.0.0.1:{port}/")).kind == "protocol"


@pytest.mark.parametrize(
    "header",
    [
        ("X-A", "1\r\nX-B: 2"),
        ("X-A", "1\n"),
        ("X-A\r\nX-B", "1"),
        ("X A", "1"),
        ("", "1"),
        ("X-A", "\0"),
        ("Host", "inside"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
    ],
)
async def test_headers_that_would_change_the_request_are_refused(header: tuple[str, str]) -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        with pytest.raises(TransportFailure) as raised:
            await egress.post(receiver.url(), headers=[header], body=b"", deadline_s=10.0)
    assert raised.value.kind == "request"
    assert header_refusal(*header)
    assert receiver.connections == 0


async def test_hundreds_that_hang_hold_up_nobody_else() -> None:
    async with WebhookReceiver() as receiver, WebhookReceiver() as other, an_egress() as egress:
        receiver.on("/", Reply(hang=True))
        hanging = [asyncio.create_task(post(egress, receiver.url(), 60.0)) for _ in range(200)]
        await receiver.wait_for(count=200)
        for url in (other.url(), receiver.url("/healthy")):
            assert (await post(egress, url)).status == 204
        assert not any(task.done() for task in hanging)
        assert egress.in_flight == 200
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await until("all its connections are closed", lambda: receiver.cut_short == 200)


async def test_a_cancelled_caller_takes_its_request_along() -> None:
    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(hang=True))
        task = asyncio.create_task(post(egress, receiver.url()))
        await receiver.wait_for()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until("the receiver sees its connection closed", lambda: receiver.cut_short == 1)
        assert egress.in_flight == 0
        assert (await post(egress, receiver.url("/next"))).status == 204


async def test_no_more_than_allowed_are_in_flight_and_the_rest_wait_in_order() -> None:
    async with WebhookReceiver() as receiver, an_egress(max_in_flight=2) as egress:
        receiver.on("/", Reply(hang=True))
        first = [asyncio.create_task(post(egress, receiver.url(), 60.0)) for _ in range(2)]
        await receiver.wait_for(count=2)
        rest = [asyncio.create_task(post(egress, receiver.url(f"/{number}"))) for number in range(5)]
        given_up = asyncio.create_task(post(egress, receiver.url("/given-up")))
        too_late = asyncio.create_task(failure_of(egress, receiver.url("/too-late"), 0.05))
        assert (await too_late).kind == "timeout"
        given_up.cancel()
        await asyncio.wait([given_up])
        assert len(receiver.received) == 2
        first[0].cancel()
        assert [(await task).status for task in rest] == [204] * 5
        assert [request.path for request in receiver.received[2:]] == [f"/{number}" for number in range(5)]
        first[1].cancel()
        await asyncio.wait(first)
        assert egress.in_flight == 0


async def test_a_full_queue_says_so_at_once() -> None:
    async with WebhookReceiver() as receiver, an_egress(max_in_flight=1, max_waiting=1) as egress:
        receiver.on("/", Reply(hang=True))
        tasks = [asyncio.create_task(post(egress, receiver.url(), 60.0)) for _ in range(2)]
        await receiver.wait_for()
        assert (await failure_of(egress, receiver.url())).kind == "busy"
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_closing_ends_everything_in_flight_waiting_and_looking_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(60) and [])
    async with WebhookReceiver() as receiver:
        receiver.on("/", Reply(hang=True))
        egress = an_egress(max_in_flight=2)
        urls = (receiver.url(), "https://hooks.example/", receiver.url("/waits"))
        tasks = [asyncio.create_task(failure_of(egress, url, 60.0)) for url in urls]
        await receiver.wait_for()
        await egress.close()
        assert [(await task).kind for task in tasks] == ["canceled"] * 3
        assert (await failure_of(egress, receiver.url())).kind == "canceled"
        assert egress.in_flight == 0
        await egress.close()
    answered.set()


async def test_a_dead_name_server_costs_one_thread_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    system, answered, lookups = socket.getaddrinfo, threading.Event(), []

    def getaddrinfo(host: str, *args: object, **options: object) -> object:
        if host != "dead.example":
            return system(host, *args, **options)  # type: ignore[arg-type]
        lookups.append(host)
        answered.wait(60)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with WebhookReceiver() as receiver, an_egress(connect_timeout_s=2.0) as egress:
        tasks = [asyncio.create_task(failure_of(egress, "https://dead.example/")) for _ in range(50)]
        await until("the lookup has begun", lambda: len(lookups) == 1)
        assert (await post(egress, receiver.url(host="localhost"))).status == 204
        assert not any(task.done() for task in tasks)
        assert {(await task).kind for task in tasks} == {"dns"}
        assert len(lookups) == 1
    answered.set()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_both_loops_carry_many_posts_at_once(run: object) -> None:
    async def many() -> None:
        async with WebhookReceiver() as receiver, an_egress() as egress:
            receiver.on("/slow", Reply(delay_s=0.01))
            urls = [receiver.url(path) for path in ("/fast", "/slow")] * 500
            answers = await asyncio.gather(*(post(egress, url, 60.0) for url in urls))
            assert {answer.status for answer in answers} == {204}
            assert len(receiver.received) == 1000

    run(many())  # type: ignore[operator]


async def test_a_failing_callback_ends_what_is_in_flight_and_the_next_post_works() -> None:
    class FullEpoll:
        """Refuses one registration, as the kernel does when the user's watches are used up."""

        def modify(self, fd: int, events: int) -> None:
            egress._curl_loop._epoll = epoll
            raise OSError(28, "No space left on device")

    async with WebhookReceiver() as receiver, an_egress() as egress:
        receiver.on("/", Reply(hang=True))
        hanging = asyncio.create_task(failure_of(egress, receiver.url(), 60.0))
        await receiver.wait_for()
        epoll = egress._curl_loop._epoll
        egress._curl_loop._epoll = FullEpoll()  # type: ignore[assignment]
        assert (await failure_of(egress, receiver.url("/next"))).kind == "protocol"
        assert (await hanging).kind == "protocol"
        assert (await post(egress, receiver.url("/next"))).status == 204
        assert egress.in_flight == 0
