"""A fake Grafana: real HTTP, state, and every body held to Grafana's own published OpenAPI."""

from __future__ import annotations

import json
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

import jsonschema

EDITOR, VIEWER = "glsa_editor", "glsa_viewer"
Json = dict[str, Any]


class Refused(Exception):
    def __init__(self, code: int, message: str, **more: Any) -> None:
        super().__init__(code, {"message": message, **more})


class FakeGrafana:
    """Folders, dashboards and data sources, with versions; errors as Grafana's source has them.

    Attributes:
        writes: method and path of every request that changed something.
        dashboards: uid -> {"dashboard", "meta"}.
    """

    def __init__(self, openapi: Json) -> None:
        self.openapi = openapi
        self.folders: list[Json] = []
        self.dashboards: dict[str, Json] = {}
        self.sources: list[Json] = []
        self.writes: list[tuple[str, str]] = []
        self.before_save = lambda: None
        handler = type("Handler", (_Handler,), {"grafana": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.routes = {
            ("get", "/folders"): lambda _: self.folders,
            ("post", "/folders"): self.make_folder,
            ("get", "/dashboards/uid/{uid}"): self.read_dashboard,
            ("post", "/dashboards/db"): self.save_dashboard,
            ("get", "/datasources/name/{name}"): self.read_source,
            ("post", "/datasources"): self.make_source,
            ("put", "/datasources/uid/{uid}"): self.change_source,
        }

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, token: str, body: Json | None) -> tuple[int, Any]:
        try:
            if token not in (f"Bearer {EDITOR}", f"Bearer {VIEWER}"):
                raise Refused(401, "Invalid API key")
            route, parameters = self._route(method, path)
            if method != "get":
                if token == f"Bearer {VIEWER}":
                    raise Refused(403, "You'll need additional permissions to perform this action")
                self._hold("request", method, route, body)
            answer = self.routes[method, route](body, **parameters)
            self._hold("answer", method, route, answer)
        except Refused as refused:
            return refused.args
        if method != "get":
            self.writes.append((method, route))
        return 200, answer

    def _route(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        for known, route in self.routes:
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", f"/api{route}")
            if known == method and (match := re.fullmatch(pattern, path)):
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        raise Refused(404, "Not found")

    def _hold(self, which: str, method: str, route: str, body: Any) -> None:
        """Raises 422 where a request, or this fake's own answer, is not what Grafana publishes."""
        operation = self.openapi["paths"][route][method]
        if which == "request":
            content = operation["requestBody"]["content"]
        else:
            name = operation["responses"]["200"]["$ref"].rpartition("/")[2]
            content = self.openapi["components"]["responses"][name]["content"]
        schema = content["application/json"]["schema"] | {
            "components": self.openapi["components"],
        }
        for error in jsonschema.Draft202012Validator(schema).iter_errors(body):
            raise Refused(422, f"{which}: {error.json_path}: {error.message}")

    def make_folder(self, body: Json) -> Json:
        if any(folder["title"] == body["title"] for folder in self.folders):
            raise Refused(409, "a folder with the same name already exists in the current location")
        uid = body.get("uid", f"cf{len(self.folders):012x}")
        self.folders.append({"id": len(self.folders) + 1, "uid": uid, "title": body["title"]})
        return self.folders[-1]

    def read_dashboard(self, _: None, uid: str) -> Json:
        if uid not in self.dashboards:
            raise Refused(404, "Dashboard not found")
        return self.dashboards[uid]

    def save_dashboard(self, body: Json) -> Json:
        self.before_save()
        uid, folder = body["dashboard"]["uid"], body["folderUid"]
        kept = self.dashboards.get(uid)
        if folder not in {known["uid"] for known in self.folders}:
            raise Refused(400, "folder not found")
        if uid in {known["uid"] for known in self.folders}:
            raise Refused(400, "Dashboard cannot be changed to a folder")
        version = kept["dashboard"]["version"] if kept else 0
        if kept and body["dashboard"].get("version") != version and not body["overwrite"]:
            message = "The dashboard has been changed by someone else"
            raise Refused(412, message, status="version-mismatch")
        title = body["dashboard"]["title"]
        for other, there in self.dashboards.items():
            if there["dashboard"]["title"] == title and other != uid:
                message = "A dashboard with the same name in the folder already exists"
                raise Refused(412, message, status="name-exists")
        number = kept["dashboard"]["id"] if kept else len(self.dashboards) + 1
        counted = {"id": number, "version": version + 1}
        self.dashboards[uid] = {
            "dashboard": body["dashboard"] | counted,
            "meta": {"folderUid": folder, "version": version + 1},
        }
        # A number in the real one, a string in what it publishes.
        said = {"id": str(number), "version": version + 1, "uid": uid, "title": title}
        return said | {"url": f"/d/{uid}/{uid}", "status": "success"}

    def read_source(self, _: None, name: str) -> Json:
        for source in self.sources:
            if source["name"] == name:
                return source
        raise Refused(404, "Data source not found")

    def make_source(self, body: Json) -> Json:
        if any(source["name"] == body["name"] for source in self.sources):
            raise Refused(409, "data source with the same name already exists")
        number = len(self.sources) + 1
        self.sources.append({"id": number, "uid": f"df{number:012x}", "version": 1, **body})
        return self._told(self.sources[-1], "added")

    def change_source(self, body: Json, uid: str) -> Json:
        (source,) = [source for source in self.sources if source["uid"] == uid]
        source.update(body, version=source["version"] + 1)
        return self._told(source, "updated")

    @staticmethod
    def _told(source: Json, what: str) -> Json:
        name = source["name"]
        said = {"message": f"Datasource {what}", "id": source["id"], "name": name}
        return said | {"datasource": source}


class _Handler(BaseHTTPRequestHandler):
    grafana: FakeGrafana

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        token = self.headers.get("authorization", "")
        status, answer = self.grafana.answer(self.command.lower(), self.path, token, body)
        text = json.dumps(answer).encode()
        self.send_response(HTTPStatus(status))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PUT = do_GET

    def log_message(self, *_: object) -> None: ...
