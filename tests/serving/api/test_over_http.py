"""The API as a server: many clients at once, clients that are slow or hostile, and the client of OpenAI."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest

from tests.processes import PATIENCE
from tests.serving.api.conftest import MakeApp, base64_of, png

Open = Callable[..., Any]


def post(url: str, body: Any, kind: str = "application/json") -> tuple[int, dict[str, Any]]:
    """Status and body of an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def raw(url: str, sent: bytes) -> bytes:
    """What comes back for these bytes, until the server closes."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_the_client_of_openai_embeds_an_image(make_app: MakeApp, served: Any, served_over_http: Open) -> None:
    with served_over_http(make_app()) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        found = client.embeddings.create(model="tiny-simclr", input=f"data:image/png;base64,{base64_of(png())}")
        assert [model.id for model in client.models.list()] == ["tiny-simclr", "colours"]
        with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
            client.embeddings.create(model="gpt", input=base64_of(png()))
    expected = served.encoder.encode([png()], normalize=True)[0]
    assert np.abs(np.array(found.data[0].embedding) - expected).max() <= 1e-6


def test_requests_that_come_together_are_computed_together(
    make_app: MakeApp, served: Any, served_over_http: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(wait_ms=2000, batch=8)
    sizes: list[int] = []
    app.state.service.batcher.on_batch = sizes.append
    images = [png((20 * i, 100, 50)) for i in range(8)]
    with served_over_http(app) as url, ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda data: post(f"{url}/v1/embeddings", {"input": base64_of(data)}), images))
    assert sizes == [8]  # full, so nobody waited for the two seconds to end
    expected = served.encoder.encode(images, normalize=True)
    for (status, body), vector in zip(answers, expected, strict=True):
        assert status == 200
        assert np.abs(np.array(body["data"][0]["embedding"]) - vector).max() <= 1e-6


def test_an_error_of_the_network_reaches_its_clients_and_the_next_request_is_answered(
    make_app: MakeApp, served_over_http: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    batcher, encode = app.state.service.batcher, app.state.service.batcher._encode
    with served_over_http(app) as url:

        def fails(_: Any) -> Any:
            batcher._encode = encode
            raise MemoryError("too little")

        batcher._encode = fails
        status, body = post(f"{url}/v1/embeddings", {"input": base64_of(png())})
        assert (status, "the log has it" in body["error"]["message"]) == (500, True)
        assert post(f"{url}/v1/embeddings", {"input": base64_of(png())})[0] == 200


def test_a_slow_sender_is_not_waited_for(make_app: MakeApp, served_over_http: Open) -> None:
    with served_over_http(make_app(upload_seconds=0.2)) as url:
        head = (
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        )
        assert raw(url, head + b'{"input": ').startswith(b"HTTP/1.1 408")
        assert post(f"{url}/v1/embeddings", {"input": base64_of(png())})[0] == 200


def test_what_was_accepted_is_answered_when_the_server_ends(make_app: MakeApp, served_over_http: Open) -> None:
    app = make_app()
    batcher, encode = app.state.service.batcher, app.state.service.batcher._encode
    begun, told_to_end = threading.Event(), threading.Event()

    def slow(images: Any) -> Any:
        begun.set()
        told_to_end.wait(PATIENCE)
        return encode(images)

    batcher._encode = slow
    with ThreadPoolExecutor(1) as clients:
        with served_over_http(app) as url:
            answer = clients.submit(post, f"{url}/v1/embeddings", {"input": base64_of(png())})
            assert begun.wait(PATIENCE)
            threading.Timer(0.3, told_to_end.set).start()  # after the server was told to end, which waits for it
        assert answer.result()[0] == 200


HOSTILE = {
    "cut": png()[:60],
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "html": b"<!doctype html><img src=x onerror=alert(1)>",
    "pdf": b"%PDF-1.7\n",
    "zeros": bytes(1000),
    "gif and html": b"GIF89a/*<script>*/=1;",
    "bomb": png(size=(1, 1))[:16] + (60_000).to_bytes(4, "big") * 2 + png(size=(1, 1))[24:],
    "empty": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_upload_gets_an_answer_of_4xx_and_the_server_lives_on(client: Any, name: str) -> None:
    data, path = HOSTILE[name], "/v1/embeddings"
    answers = [
        client.post(path, json={"input": base64_of(data)}),
        client.post(path, files=[("file", ("../../x.php", data, "text/html"))]),
        client.post("/v1/search", json={"image": base64_of(data)}),
    ]
    for kind in ("application/json", "multipart/form-data", "multipart/form-data; boundary=x"):
        answers.append(client.post(path, content=data, headers={"content-type": kind}))
    assert [400 <= answer.status_code < 500 for answer in answers] == [True] * 6, [answer.text for answer in answers]
    assert client.post(path, json={"input": base64_of(png())}).status_code == 200
