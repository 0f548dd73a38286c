"""What the API answers: the vectors, neighbours and classes that Python gives, and a sentence where it cannot."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from cpchub.errors import StoreError
from cpchub.fewlabels.classify import classify_multi_label, learn
from cpchub.index.query import Item
from tests.serving.api.conftest import MakeApp, base64_of, png

KEY = "a-key-of-32-characters-or-so-000"


def error(response: Any) -> str:
    return str(response.json()["error"]["message"])


@pytest.fixture(scope="module")
def files(served: Any) -> list[bytes]:
    return [(served.images / path).read_bytes() for path in served.index.collection.paths[:5]]


class TestEmbeddings:
    def test_they_are_those_of_the_encoder_at_unit_length(
        self, client: TestClient, served: Any, files: list[bytes]
    ) -> None:
        answer = client.post("/v1/embeddings", json={"input": [base64_of(data) for data in files]}).json()
        expected = served.encoder.encode(files, normalize=True)
        found = np.array([each["embedding"] for each in answer["data"]])
        assert np.abs(found - expected).max() <= 1e-6
        assert [each["index"] for each in answer["data"]] == [0, 1, 2, 3, 4]
        assert answer["model"] == served.encoder.spec.name

    def test_a_form_with_files_gives_the_same(self, client: TestClient, files: list[bytes]) -> None:
        uploads = [("file", (f"{i}.png", data, "image/png")) for i, data in enumerate(files)]
        of_form = client.post("/v1/embeddings", files=uploads).json()["data"]
        of_json = client.post("/v1/embeddings", json={"input": [base64_of(data) for data in files]}).json()["data"]
        for ours, theirs in zip(of_form, of_json, strict=True):
            assert ours["embedding"] == pytest.approx(theirs["embedding"], abs=1e-6)

    def test_base64_is_little_endian_float32(self, client: TestClient, files: list[bytes]) -> None:
        body = {"input": f"data:image/png;base64,{base64_of(files[0])}", "encoding_format": "base64"}
        (packed,) = client.post("/v1/embeddings", json=body).json()["data"]
        (plain,) = client.post("/v1/embeddings", json={**body, "encoding_format": "float"}).json()["data"]
        unpacked = np.frombuffer(base64.b64decode(packed["embedding"]), "<f4")
        assert unpacked.tolist() == pytest.approx(plain["embedding"], abs=1e-6)

    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            ({"input": "https://example.org/a.jpg"}, 400, "image 0 is an address, and none is fetched"),
            ({"input": "file:///etc/passwd"}, 400, "is an address, and none is fetched"),
            ({"input": "/etc/passwd"}, 400, "image 0 is not base64"),
            ({"input": "not base64!"}, 400, "image 0 is not base64"),
            ({"input": base64_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>")}, 400, "image 0: not an image"),
            ({"input": [base64_of(png()), base64_of(b"broken")]}, 400, "image 1: not an image"),
            ({"input": []}, 422, "input"),
            ({"input": 3}, 422, "input"),
            ({}, 422, "input: Field required"),
            ({"input": base64_of(png()), "sieze": 3}, 422, "sieze: Extra inputs are not permitted"),
            ({"input": base64_of(png()), "model": "gpt"}, 404, "there is no model 'gpt'; this API has tiny-simclr"),
            ({"input": base64_of(png()), "dimensions": 7}, 400, "dimensions=7: tiny-simclr gives 16"),
        ],
    )
    def test_what_cannot_be_used_is_answered_in_a_sentence(
        self, client: TestClient, body: dict[str, Any], status: int, message: str
    ) -> None:
        answer = client.post("/v1/embeddings", json=body)
        assert answer.status_code == status
        assert message in error(answer)

    def test_a_body_that_is_no_json_and_a_form_without_a_file(self, client: TestClient) -> None:
        answer = client.post("/v1/embeddings", content=b"{", headers={"content-type": "application/json"})
        assert answer.status_code == 422
        answer = client.post("/v1/embeddings", files=[("picture", ("a.png", png()))])
        assert (answer.status_code, "field 'file'" in error(answer)) == (400, True)


class TestSearch:
    def test_an_image_of_the_collection_finds_what_the_index_finds(self, client: TestClient, served: Any) -> None:
        answer = client.post("/v1/search", json={"id": 7, "k": 4}).json()
        expected = served.index.search(Item(7), 4)
        assert [(each["id"], each["path"]) for each in answer["data"]] == [(hit.id, hit.path) for hit in expected]
        assert [each["score"] for each in answer["data"]] == pytest.approx([hit.score for hit in expected], abs=1e-6)

    def test_an_image_and_its_vector_find_itself(self, client: TestClient, served: Any, files: list[bytes]) -> None:
        path = served.index.collection.paths[2]
        for query in ({"image": base64_of(files[2])}, {"vector": served.index.vectors[2].tolist()}, {"path": path}):
            (best,) = client.post("/v1/search", json={**query, "k": 1}).json()["data"]
            assert best["path"] == served.index.collection.paths[2]
            assert best["score"] == pytest.approx(1, abs=1e-4)

    def test_plus_minus_where_and_columns(self, client: TestClient, served: Any) -> None:
        body = {"id": 1, "plus": [{"id": 25, "weight": 2}], "minus": [{"id": 45}], "k": 3, "where": "label == 'red'"}
        answer = client.post("/v1/search", json={**body, "columns": True}).json()["data"]
        expected = served.index.search(Item(1), 3, plus=[(Item(25), 2.0)], minus=[Item(45)], where="label == 'red'")
        assert [each["id"] for each in answer] == [hit.id for hit in expected]
        assert {each["columns"]["label"] for each in answer} == {"red"}

    def test_a_store_that_does_not_answer_is_a_503_without_its_address(
        self, client: TestClient, served: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(*_: object) -> None:
            raise StoreError("Milvus at http://10.0.0.7:19530 is not reached")

        monkeypatch.setattr(type(served.index._store), "search", gone)
        answer = client.post("/v1/search", json={"id": 7, "k": 4})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert error(answer) == "the store of the vectors does not answer now; try again in a moment"

    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            ({}, 422, "give one of image, id, path and vector"),
            ({"path": "/etc/passwd"}, 404, "there is no image '/etc/passwd' in the collection"),
            ({"id": 1, "vector": [1.0]}, 422, "give one of image, id, path and vector"),
            ({"id": 10_000}, 404, "there is no image with id 10000"),
            ({"vector": [0.0] * 16}, 400, "no direction"),
            ({"vector": [1.0]}, 400, "the collection needs"),
            ({"vector": [1e300] * 16}, 400, "too large"),
            ({"id": 1, "k": 0}, 422, "k"),
            ({"id": 1, "k": 5000}, 413, "at most 1,000 results"),
            ({"id": 1, "where": "colour == 'red'"}, 400, "colour"),
        ],
    )
    def test_what_cannot_be_searched_for_is_answered_in_a_sentence(
        self, client: TestClient, body: dict[str, Any], status: int, message: str
    ) -> None:
        answer = client.post("/v1/search", json=body)
        assert (answer.status_code, message in error(answer)) == (status, True), error(answer)


class TestClassify:
    def test_the_probabilities_are_those_of_the_head(self, client: TestClient, served: Any, files: list[bytes]) -> None:
        answer = client.post("/v1/classify", json={"input": [base64_of(data) for data in files]}).json()
        assert answer["head"] == "colours"
        for each in answer["data"]:
            assert sum(each["probabilities"].values()) == pytest.approx(1, abs=1e-5)
            assert each["predicted"] == max(each["probabilities"], key=each["probabilities"].__getitem__)

    def test_an_image_may_be_of_several_classes_or_of_none(
        self, make_app: MakeApp, served: Any, files: list[bytes]
    ) -> None:
        said = {"red": "warm", "green": "leaf;seen", "blue": "seen"}
        labels = {path: said[path.partition("/")[0]] for path in served.index.collection.paths[::4]}
        table, head = classify_multi_label(served.index.collection, labels)
        with TestClient(make_app(head=head)) as client:
            answer = client.post("/v1/classify", json={"input": [base64_of(data) for data in files]}).json()["data"]
        assert [each["predicted"] for each in answer] == table["predicted"][:5].to_pylist()
        for each in answer:
            likely = [name for name, p in each["probabilities"].items() if p >= 0.5]
            assert (each["classes"], each["confidence"], each["typical"]) == (likely, None, None)

    def test_an_image_unlike_every_class_is_of_none_of_these(
        self, make_app: MakeApp, served: Any, files: list[bytes]
    ) -> None:
        labels = {path: path.partition("/")[0] for path in served.index.collection.paths}
        head = learn(served.index.collection, labels, none_of_these=0.3)
        images = [*files, png((255, 255, 255))]
        with TestClient(make_app(head=head)) as client:
            body = {"input": [base64_of(data) for data in images]}
            answer = client.post("/v1/classify", json=body).json()["data"]
        assert [each["predicted"] for each in answer] == head.answers(served.encoder.encode(images)).predicted
        none = [each for each in answer if each["predicted"] == "none of these"]
        assert answer[5] in none
        assert len(none) < 6
        for each in answer:
            assert (each["typical"] <= 0.3, each["confidence"] is None, each["classes"] == []) == (each in none,) * 3

    def test_a_classifier_that_is_not_there_is_named(self, client: TestClient) -> None:
        answer = client.post("/v1/classify", json={"input": base64_of(png()), "head": "birds"})
        assert (answer.status_code, error(answer)) == (404, "there is no classifier 'birds'; there are colours")


def test_models_health_and_counts(client: TestClient) -> None:
    models = client.get("/v1/models").json()["data"]
    assert [(each["id"], each["kind"]) for each in models] == [("tiny-simclr", "encoder"), ("colours", "classifier")]
    assert client.get("/healthz").json() == {"status": "ok", "images": 60}
    client.get("/v1/nothing-made-up")
    counts = client.get("/metrics").text
    assert 'cpchub_requests_total{path="/healthz",status="200"}' in counts
    assert "nothing-made-up" not in counts
    assert 'cpchub_requests_total{path="other",status="404"}' in counts


class TestDoor:
    def test_without_the_key_nothing_but_the_health_is_told(self, make_app: MakeApp) -> None:
        with TestClient(make_app(keys=(KEY, "another-key-0000"))) as client:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
                refused = client.get("/v1/models", headers=headers)
                assert refused.status_code == 401
                assert refused.headers["WWW-Authenticate"] == "Bearer"
            assert client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
            assert client.get("/healthz").status_code == 200

    def test_a_client_that_asks_too_often_is_told_when_to_come_again(self, make_app: MakeApp) -> None:
        with TestClient(make_app(rate="3/hour")) as client:
            answers = [client.get("/v1/models") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 3500 <= int(answers[-1].headers["Retry-After"]) <= 3601

    def test_other_pages_may_not_call_it_unless_they_are_listed(self, make_app: MakeApp) -> None:
        origin = {"Origin": "https://photos.example.org"}
        with TestClient(make_app()) as client:
            assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
        with TestClient(make_app(origins=("https://photos.example.org",))) as client:
            assert client.get("/v1/models", headers=origin).headers["access-control-allow-origin"] == origin["Origin"]
            other = client.get("/v1/models", headers={"Origin": "https://evil.example.org"})
            assert "access-control-allow-origin" not in other.headers


class TestBounds:
    def test_too_many_bytes_images_and_pixels(self, make_app: MakeApp) -> None:
        with TestClient(make_app(body=20_000, images=2, pixels=10_000)) as client:
            cases = {
                "more than 20,000 bytes": {"input": "A" * 20_000},
                "3 images, more than 2": {"input": [base64_of(png())] * 3},
                "200 x 100 pixels, more than 10,000": {"input": base64_of(png(size=(200, 100)))},
            }
            for message, body in cases.items():
                answer = client.post("/v1/embeddings", json=body)
                assert (answer.status_code, message in error(answer)) == (413, True), error(answer)
            chunked = client.post("/v1/embeddings", content=(b"A" * 8000 for _ in range(3)))  # no Content-Length
            assert chunked.status_code == 413

    def test_a_full_queue_is_busy_and_says_for_how_long(self, make_app: MakeApp) -> None:
        with TestClient(make_app(queue=1)) as client:
            answer = client.post("/v1/embeddings", json={"input": [base64_of(png())] * 2})
            assert answer.status_code == 429
            assert int(answer.headers["Retry-After"]) >= 1
            assert client.post("/v1/embeddings", json={"input": base64_of(png())}).status_code == 200


def test_every_path_is_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/v1/embeddings", "/v1/search", "/v1/classify", "/v1/models", "/healthz", "/metrics",
    }  # fmt: skip
    body = described["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert "EmbeddingRequest" in described["components"]["schemas"]
    assert json.dumps(described)


def test_no_path_of_this_machine_is_told(client: TestClient, served: Any) -> None:
    answer = client.post("/v1/search", json={"id": 10_000})
    assert str(Path(served.index.collection.folder).parent) not in error(answer)
