"""dashboards: Grafana's view of a running application, as files and in a Grafana."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from serve.errors import SetupError
from serve.verbs.options import Verbs


def add(verbs: Verbs) -> None:
    """Its parsers."""
    dashboards = verbs.add_parser("dashboards", help="Grafana dashboards: as files, or published")
    kinds = dashboards.add_subparsers(required=True, metavar="VERB")

    write = kinds.add_parser("write", help="as JSON files, to import by hand")
    write.add_argument("folder", type=Path, metavar="DIR")
    write.set_defaults(verb=_write)

    publish = kinds.add_parser(
        "publish",
        help="into a Grafana",
        description="Make or update the folder and the dashboards in a Grafana, and with "
        "--prometheus their data source. What is there and the same is left alone.",
    )
    publish.add_argument("--url", required=True, help="Grafana's, such as http://127.0.0.1:3000")
    publish.add_argument(
        "--token", help="of a service account with the role Editor; better in GRAFANA_TOKEN"
    )
    publish.add_argument("--folder", default="pointsman", help="its title; default: pointsman")
    publish.add_argument(
        "--datasource",
        metavar="NAME",
        help="the Prometheus data source to show first; default: the first that Grafana lists",
    )
    publish.add_argument(
        "--prometheus",
        metavar="URL",
        help="make or update the data source (--datasource, or Prometheus) with this address, as "
        "Grafana reaches it; takes a token with the role Admin",
    )
    publish.add_argument(
        "--from",
        dest="files",
        type=Path,
        metavar="DIR",
        help="publish the JSON files there, not what this version builds",
    )
    publish.set_defaults(verb=_publish)


def _write(arguments: argparse.Namespace) -> None:
    from serve.dashboards.files import write

    for file in write(_built(), arguments.folder):
        print(file)


def _publish(arguments: argparse.Namespace) -> None:
    from serve.dashboards.files import read
    from serve.dashboards.publish import Grafana, reading_from

    dashboards = read(arguments.files) if arguments.files else _built()
    grafana = Grafana(arguments.url, _token(arguments))
    if arguments.datasource or arguments.prometheus:
        name = arguments.datasource or "Prometheus"
        uid, state = grafana.source(name, arguments.prometheus)
        print(f"data source {name}: {state}")
        dashboards = {key: reading_from(each, name, uid) for key, each in dashboards.items()}
    folder, state = grafana.folder(arguments.folder)
    print(f"folder {arguments.folder}: {state}")
    for dashboard in dashboards.values():
        state = grafana.dashboard(dashboard, folder)
        print(f"dashboard {dashboard['uid']}: {state}")


def _built() -> dict[str, dict[str, Any]]:
    try:
        from serve.dashboards.catalogue import built
    except ModuleNotFoundError as error:
        raise SetupError(
            f"{error.name} is missing: pip install 'pointsman[dashboards]', or publish the files "
            "of deployments/grafana with --from"
        ) from error
    return built()


def _token(arguments: argparse.Namespace) -> str:
    token = (arguments.token or os.environ.get("GRAFANA_TOKEN", "")).strip()
    # An HTTP header takes nothing else, and the error would print the token.
    if not (token and token.isascii() and token.isprintable()):
        raise SetupError(
            "no token: set GRAFANA_TOKEN (or --token) to that of a Grafana service account"
        )
    return str(token)
