"""Puts a data source, a folder and dashboards into a Grafana, through grafana-api.

Each is looked up first and written only where it differs: a second run changes nothing.
"""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

import requests
from grafana_api.grafana_api import (  # type: ignore[import-untyped]
    GrafanaClientError,
    GrafanaException,
)
from grafana_api.grafana_face import GrafanaFace  # type: ignore[import-untyped]

from serve import __version__
from serve.errors import SetupError

TIMEOUT_S = 30.0

Json: TypeAlias = dict[str, Any]

_WAYS_OUT = {
    401: "it does not know the token: make one for a service account",
    403: "the token may not: dashboards and folders take the role Editor, data sources Admin",
    404: "is that the address of a Grafana, with its path where it has one?",
    409: "somebody else made the same just now: run this again",
    412: "somebody else saved it just now, or another dashboard there has its title: run this "
    "again, or rename that one",
}


class Grafana:
    """A Grafana as the owner of a token sees it.

    Every method raises SetupError where nobody answers or Grafana refuses, with the way out.
    """

    def __init__(self, url: str, token: str) -> None:
        """Asks nothing yet.

        Args:
            url: http(s)://HOST[:PORT][/PATH].
            token: of a service account.

        Raises:
            SetupError: `url` is no such address.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise SetupError(f"--url {url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise SetupError(f"--url {url}: must be http(s)://HOST[:PORT][/PATH]")
        path = parts.path.strip("/")
        self._url = url
        self._face = GrafanaFace(
            token,
            protocol=parts.scheme,
            host=parts.netloc,
            url_path_prefix=f"{path}/" if path else "",
            timeout=TIMEOUT_S,
        )

    def source(self, name: str, prometheus: str | None) -> tuple[str, str]:
        """A Prometheus data source.

        Args:
            name: of the data source.
            prometheus: the server's address as Grafana reaches it; None: it must be there.

        Returns:
            Its uid, and made, changed or unchanged.
        """
        api = self._face.datasource
        with self._doing(f"data source {name}"):
            found = _found(lambda: api.find_datasource(quote(name, safe="")))
            if found is None:
                if prometheus is None:
                    raise SetupError("is not there; --prometheus URL makes it")
                wanted = {"name": name, "type": "prometheus", "access": "proxy", "url": prometheus}
                return api.create_datasource(wanted)["datasource"]["uid"], "made"
            if found["type"] != "prometheus":
                raise SetupError(f"is of type {found['type']}: give --datasource another name")
            if prometheus in (None, found["url"]):
                return found["uid"], "unchanged"
            # Not update_datasource: Grafana has given up the calls that take a number.
            path = f"/datasources/uid/{found['uid']}"
            self._face.api.PUT(path, json=found | {"url": prometheus})
            return found["uid"], "changed"

    def folder(self, title: str) -> tuple[str, str]:
        """The folder of that title, made where there is none.

        Returns:
            Its uid, Grafana's own, which no dashboard has; and made or unchanged.
        """
        with self._doing(f"folder {title}"):
            for folder in self._face.folder.get_all_folders():
                if folder["title"] == title:
                    return folder["uid"], "unchanged"
            return self._face.folder.create_folder(title)["uid"], "made"

    def dashboard(self, dashboard: Json, folder: str) -> str:
        """One dashboard.

        Args:
            dashboard: its JSON; Grafana knows it by its uid.
            folder: uid of where it belongs.

        Returns:
            made, changed or unchanged.
        """
        api = self._face.dashboard
        with self._doing(f"dashboard {dashboard['uid']}"):
            found = _found(lambda: api.get_dashboard(dashboard["uid"]))
            there = found["dashboard"] if found else {}
            same_place = found is not None and found["meta"].get("folderUid") == folder
            if same_place and _content(there) == _content(dashboard):
                return "unchanged"
            # The version that was looked at: what is saved in between is not written over.
            counted = {key: there.get(key) for key in ("id", "version") if found}
            api.update_dashboard(
                {
                    "dashboard": _content(dashboard) | counted,
                    "folderUid": folder,
                    "overwrite": False,
                    "message": f"pointsman {__version__}",
                }
            )
            return "changed" if found else "made"

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Turns every failure into one line that says where and at what."""
        where = f"{self._url}: {what}"
        try:
            yield
        except SetupError as error:
            raise SetupError(f"{where}: {error}") from None
        except GrafanaException as error:
            said = textwrap.shorten(str(error.message), 200)
            way_out = _WAYS_OUT.get(error.status_code)
            raise SetupError(f"{where}: {'; '.join(filter(None, [said, way_out]))}") from error
        except requests.RequestException as error:
            said = textwrap.shorten(str(error), 300)
            raise SetupError(f"{where}: no Grafana answers: {said}") from error


def reading_from(dashboard: Json, name: str, uid: str) -> Json:
    """A dashboard that shows a certain data source until a viewer chooses another.

    Args:
        dashboard: with a variable `datasource`.
        name: of the data source.
        uid: its own.
    """
    dashboard = copy.deepcopy(dashboard)
    for variable in dashboard["templating"]["list"]:
        if variable["name"] == "datasource":
            variable["current"] = {"selected": True, "text": name, "value": uid}
    return dashboard


def _found(look: Callable[[], Json]) -> Json | None:
    try:
        return look()
    except GrafanaClientError as error:
        if error.status_code == 404:
            return None
        raise


def _content(dashboard: Json) -> Json:
    """Without what Grafana counts itself."""
    return {key: value for key, value in dashboard.items() if key not in ("id", "version")}
