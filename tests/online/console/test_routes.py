"""The console over HTTP: headers, what is served, and what is not."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from ray import cloudpickle
from ray.serve.llm.ingress import make_fastapi_ingress

from serve.online.console.routes import FILES, HEADERS
from serve.online.surface import surface


@pytest.fixture(scope="module")
def client():
    return TestClient(surface())


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
        ("/console/console.js", "text/javascript; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
    ],
)
def test_every_file_has_the_headers_and_is_sent_once(client, path, type_):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, type_)
    assert HEADERS.items() <= dict(answer.headers).items()
    again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert HEADERS.items() <= dict(again.headers).items()


@pytest.mark.parametrize(
    "path", ["none.js", "", "../routes.py", "..%2froutes.py", "%2fetc%2fpasswd", "a%00b", "x" * 300]
)
def test_no_other_file_is_served(client, path):
    answer = client.get(f"/console/{path}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_only_reading_is_allowed(client):
    assert client.post("/").status_code == client.post("/console/console.js").status_code == 405
    assert client.head("/").status_code == 200


def test_the_openapi_document_has_no_part_of_it(client):
    assert client.get("/openapi.json").json()["paths"] == {}


def test_rays_ingress_keeps_the_page_and_carries_no_path_of_where_it_is_built():
    class Ingress:
        async def health(self):
            return {}

    app = surface()
    make_fastapi_ingress(Ingress, endpoint_map={"health": lambda app: app.get("/health")}, app=app)
    pickled = cloudpickle.dumps(app)
    assert str(FILES.directory).encode() not in pickled
    client = TestClient(cloudpickle.loads(pickled))
    assert client.get("/").status_code == client.get("/console/console.js").status_code == 200
    assert list(client.get("/openapi.json").json()["paths"]) == ["/health"]
