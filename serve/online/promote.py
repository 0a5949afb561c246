"""Gives a running application another router: a new user_config, through Ray Serve's REST API.

Only the user_config of the ingress changes, so Serve restarts nothing: every ingress replica is
told, loads the artifact beside the old one, and exchanges them between two batches.
"""

from __future__ import annotations

import copy
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
from ray.exceptions import AuthenticationError

from serve import keys
from serve.config import ChallengerSettings, RolloutSettings
from serve.errors import SetupError
from serve.settings_file import IMPORT_PATH, INGRESS

TIMEOUT_S = 120.0
POLL_S = 0.5
KEPT = ("proxy_location", "http_options", "grpc_options")


class Running:
    """A Serve instance, by the address of its Ray dashboard.

    Args:
        dashboard: http://host:port.

    Raises:
        SetupError: nothing answers there, or no application there is ours.
    """

    def __init__(self, dashboard: str) -> None:
        try:
            self._client = ServeSubmissionClient(dashboard)
            details = self._client.get_serve_details()
        except (ConnectionError, RuntimeError, ValueError, AuthenticationError) as error:
            cause = str(error).strip().splitlines()[0]
            raise SetupError(f"{dashboard}: Ray's dashboard does not answer: {cause}") from None
        deployed = [a["deployed_app_config"] for a in details["applications"].values()]
        self.config: dict[str, Any] = {key: details[key] for key in KEPT if details.get(key)}
        self.config["applications"] = [config for config in deployed if config]
        ours = [c for c in self.config["applications"] if c["import_path"] == IMPORT_PATH]
        if not ours:
            raise SetupError(
                f"{dashboard}: no application with import_path {IMPORT_PATH} runs there"
            )
        options = details["http_options"]
        host = options["host"] if options["host"] not in ("0.0.0.0", "::") else "127.0.0.1"
        self._name = ours[0]["name"]
        prefix = (ours[0].get("route_prefix") or "/").rstrip("/")
        self.url = f"http://{host}:{options['port']}{prefix}"

    def replicas(self) -> list[dict[str, Any]]:
        """What the ingress replicas that answer serve and refused: /v1/router."""
        key = os.environ.get(keys.VARIABLE)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        request = urllib.request.Request(f"{self.url}/v1/router", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return list(json.load(answer)["replicas"])

    def count(self) -> int:
        """Ingress replicas; one that is taking a new config answers nobody for a moment."""
        application = self._client.get_serve_details()["applications"][self._name]
        replicas = application["deployments"][INGRESS]["replicas"]
        return sum(replica["state"] != "STOPPING" for replica in replicas)

    def deploy(self, config: dict[str, Any]) -> None:
        """Hand Serve a changed config."""
        self._client.deploy_applications(config)


def promoted(now: RolloutSettings, artifact: Path, share: float | None) -> RolloutSettings:
    """The rollout in which an artifact serves, or challenges for a share.

    Args:
        now: what runs.
        artifact: folder.
        share: of the requests that the artifact is to decide as a challenger; None: it serves.
    """
    folder = str(artifact.expanduser().resolve())
    if share is None:
        return RolloutSettings(artifact=folder)
    challenger = ChallengerSettings(artifact=folder, share=share)
    return now.model_copy(update={"challenger": challenger})


def with_rollout(config: dict[str, Any], rollout: RolloutSettings) -> dict[str, Any]:
    """A Serve config that says this rollout, even an empty one: Serve tells replicas of no change
    where there is no user_config at all."""
    config = copy.deepcopy(config)
    application = next(a for a in config["applications"] if a["import_path"] == IMPORT_PATH)
    deployments = application.setdefault("deployments", [])
    ingress = next((d for d in deployments if d["name"] == INGRESS), None)
    if ingress is None:
        ingress = {"name": INGRESS}
        deployments.append(ingress)
    ingress["user_config"] = rollout.model_dump(exclude_none=True)
    return config


def roll_out(
    running: Running,
    now: RolloutSettings,
    then: RolloutSettings,
    took: Callable[[dict[str, Any]], bool],
) -> list[dict[str, Any]]:
    """Deploy a rollout and wait until every replica took it; else put the old one back.

    Args:
        running: the instance.
        now: the rollout that runs.
        then: the one to be.
        took: whether a line of /v1/router is the wanted one.

    Returns:
        The lines of all replicas.

    Raises:
        SetupError: a replica refused it, or did not say within TIMEOUT_S; nothing has changed.
    """
    running.deploy(with_rollout(running.config, then))
    deadline, said = time.monotonic() + TIMEOUT_S, ["not every replica answered in time"]
    while time.monotonic() < deadline:
        time.sleep(POLL_S)
        try:
            replicas = running.replicas()
        except (urllib.error.URLError, TimeoutError) as error:
            said = [str(error)]
            if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403):
                said.append(f"/v1/router wants an admin's key in {keys.VARIABLE}")
                break
            continue
        if len(replicas) == running.count() and all(took(replica) for replica in replicas):
            return replicas
        refused = [replica["refused"] for replica in replicas if replica["refused"]]
        if refused:
            said = refused
            break
    running.deploy(with_rollout(running.config, now))
    raise SetupError(f"not promoted, the old router serves on: {'; '.join(sorted(set(said)))}")
