"""GET / and /console/...: the page and its files, which need no key; its data calls do.

The page is plain HTML, CSS and ES modules, served as they lie here: there is no build.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

FILES = StaticFiles(directory=Path(__file__).with_name("static"))

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Asked again each time, by its ETag: a page of one version with a script of another may break.
    "cache-control": "no-cache",
}


def add(app: FastAPI) -> None:
    """Adds the page to an application, but not to its OpenAPI document."""
    app.add_route("/", _page, include_in_schema=False)
    app.add_route("/console/{path:path}", _file, include_in_schema=False)


# Ray pickles the application where it is built; these two go by name, so that every replica reads
# the files of its own node.
async def _page(request: Request) -> Response:
    return await _answer("index.html", request)


async def _file(request: Request) -> Response:
    return await _answer(request.path_params["path"], request)


async def _answer(path: str, request: Request) -> Response:
    response = await FILES.get_response(path, request.scope)
    response.headers.update(HEADERS)
    return response
