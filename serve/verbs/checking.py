"""check: what a settings file will ask of a cluster, and what is missing in this one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve.config import RolloutSettings, Settings
from serve.errors import ArtifactError, SetupError, WeightsError
from serve.verbs.options import Verbs

if TYPE_CHECKING:
    from serve.sizing.cluster import Cluster
    from serve.sizing.models import Model
    from serve.sizing.shortfalls import Finding


def add(verbs: Verbs) -> None:
    """Its parser."""
    check = verbs.add_parser(
        "check",
        help="what a settings file will ask of a cluster, and what is missing in this one",
        description="Check a settings file, its router and its models; tell what it will ask of a "
        "cluster (CPUs, GPUs, memory, models, ports) and what is missing in this one. Exit status "
        "2 where something is. Nothing is started, downloaded or converted.",
    )
    check.add_argument("file", type=Path)
    check.add_argument(
        "--address",
        help="of a Ray cluster (HOST:PORT, ray://HOST:PORT), or local: this machine, whatever runs "
        "on it; default: RAY_ADDRESS, or a cluster that runs here, or else this machine",
    )
    check.add_argument("--json", action="store_true", help="for a machine; sizes in bytes")
    check.set_defaults(verb=_check)


def _check(arguments: argparse.Namespace) -> None:
    from serve.ray_token import send_token

    send_token()
    from serve.online.cluster import cluster_at
    from serve.settings_file import read_config, rollout_of, settings_of
    from serve.sizing.asks import asks_of
    from serve.sizing.report import Report
    from serve.sizing.shortfalls import shortfalls

    file = arguments.file
    config = read_config(file)
    settings, rollout = settings_of(config, file), rollout_of(config, str(file))
    models = _models(settings)
    asks = asks_of(settings, models)
    cluster = cluster_at(arguments.address)
    surroundings, amiss = _surroundings(config, settings, cluster, file)
    findings = [
        *_mistakes(settings, rollout, models["router"]),
        *shortfalls(asks, cluster),
        *amiss,
        *_downloads(models),
        *_uncounted(config),
    ]
    report = Report(str(file), asks, cluster, surroundings, findings)
    print(report.json() if arguments.json else report.text())
    if report.missing:
        sys.exit(2)


def _models(settings: Settings) -> dict[str, Model]:
    """Key of an ask -> where its model is."""
    from serve.sizing.models import model_at

    experts = enumerate(settings.experts)
    here = {f"experts[{i}]": model_at(e.model) for i, e in experts if e.model is not None}
    return {**here, "router": model_at(settings.router.encoder)}


def _mistakes(settings: Settings, rollout: RolloutSettings, encoder: Model) -> Iterator[Finding]:
    """What the settings name and is not right: engine arguments, keys, Redis, artifacts."""
    from serve import keys
    from serve.online.router import check_router
    from serve.sizing.shortfalls import Finding

    yield from _engine_arguments(settings)
    yield from _failing(lambda: keys.load(settings))
    redis = settings.access.redis
    if redis is not None:
        from serve.online.redis_counters import checked_url

        yield from _failing(lambda: checked_url(redis))
    if settings.tracing is not None:
        from serve.online.tracing import require_exporter

        yield from _failing(require_exporter)
    if settings.router.artifact is None and rollout == RolloutSettings():
        return
    if encoder.place == "to download":
        text = "not checked: it was trained on an encoder that is not at hand"
        yield Finding("router.artifact", text, missing=False)
    elif encoder.place != "missing":
        yield from _failing(lambda: check_router(settings, rollout))


def _failing(look: Callable[[], object]) -> Iterator[Finding]:
    """The SetupError that is raised, if one is; its text names the key first, or a file."""
    from serve.sizing.shortfalls import Finding

    try:
        look()
    except (ArtifactError, WeightsError) as error:
        yield Finding("router.artifact", str(error))
    except SetupError as error:
        key, _, text = str(error).partition(": ")
        yield Finding(key, text)


def _engine_arguments(settings: Settings) -> Iterator[Finding]:
    from serve.engine_arguments import require_known, written
    from serve.sizing.shortfalls import Finding

    known = written()
    for expert in settings.experts:
        if expert.engine and known is None:
            text = "not checked: vLLM's list of arguments is not at hand here"
            yield Finding(f"experts.{expert.id}.engine", text, missing=False)
        elif expert.engine and known is not None:
            yield from _failing(partial(require_known, expert, known))


def _surroundings(
    config: dict[str, Any], settings: Settings, cluster: Cluster, file: Path
) -> tuple[dict[str, str], list[Finding]]:
    """Ports and environment variables with their state, and what is amiss with them."""
    from serve import ports
    from serve.sizing.asks import variables
    from serve.sizing.shortfalls import Finding

    states, amiss = {}, []
    host, port = ports.address(config)
    name = f"port {port} on {host} (http_options)"
    own = [f"port {number} on 127.0.0.1 (Ray Serve)" for number in ports.OF_RAY_SERVE.values()]
    if cluster.is_ray:
        # Who holds them there may be the application that these settings are to replace.
        states = dict.fromkeys([name, *own], "of the cluster's nodes, not looked at")
    else:
        found = list(_failing(lambda: ports.require_free(host, port, file)))
        states[name] = "taken" if found else "free"
        amiss += [Finding("http_options.port", f.text.partition(": ")[2]) for f in found]
        for label, number in zip(own, ports.OF_RAY_SERVE.values(), strict=True):
            taken = ports.free(number) != number
            states[label] = "taken, another will be used" if taken else "free"
    for variable, key in variables(settings):
        there = variable in os.environ
        states[f"variable {variable} ({key})"] = "set" if there else "not set"
        if not there and key != "access.redis":
            text = f"the environment variable {variable} is not set here"
            amiss.append(Finding(key, text, missing=not cluster.is_ray))
    return states, amiss


def _downloads(models: dict[str, Model]) -> Iterator[Finding]:
    """Models to come from the hub where it may not be asked."""
    from huggingface_hub import constants

    from serve.sizing.shortfalls import Finding

    for key, model in models.items():
        if model.place == "to download" and constants.HF_HUB_OFFLINE:
            name = "encoder" if key == "router" else "model"
            text = f"{model.name} is not in the cache, and HF_HUB_OFFLINE forbids to download it"
            yield Finding(f"{key}.{name}", text)


def _uncounted(config: dict[str, Any]) -> Iterator[Finding]:
    """What a Serve config may ask besides: other applications, and overridden deployments."""
    from serve.settings_file import IMPORT_PATH
    from serve.sizing.shortfalls import Finding

    for i, application in enumerate(config["applications"]):
        if application["import_path"] != IMPORT_PATH:
            yield Finding(f"applications[{i}]", "not pointsman, not counted here", missing=False)
            continue
        for deployment in application.get("deployments") or []:
            for name in deployment.keys() - {"name", "user_config"}:
                key = f"applications[{i}].deployments.{deployment['name']}.{name}"
                yield Finding(key, "overrides the settings, not counted here", missing=False)
