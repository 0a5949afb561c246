"""Ray Serve's `serve` command, with a check before `serve run` and nothing left behind after it.

Installed as .venv/bin/serve in place of Ray's. For a file whose application is serve.app:build,
`serve run FILE` first checks the settings, the router artifact, the models' bytes and the port,
each mistake in one line; then runs Ray's command in this process and says when the application
answers. Everything else goes to Ray unchanged.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from serve import keys, ports, weights
from serve.config import ModelRef
from serve.errors import SetupError
from serve.ray_token import send_token
from serve.settings_file import IMPORT_PATH, check, read_config
from serve.supervise import Watch, ended_by_signals, nothing_left_behind, output_to

ENVIRONMENT = {
    # Read by Ray when it is imported, in every process of the cluster.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(sys.executable).with_name("pointsman-haproxy")),
    "RAY_SERVE_LOG_TO_STDERR": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray runs its workers, engines among them, at nice 15: behind its own dashboard and agents.
    "RAY_worker_niceness": "0",
    # A replica that is killed takes its engine with it: an orphan would keep the memory.
    "RAY_process_group_cleanup_enabled": "1",
    # Serve's controller looks ten times a second by default: 7 % of a core for nothing here.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    # How long an ingress replica waits for HAProxy to forget it; Ray's 30 s make Ctrl-C slow.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


STARTUP = str(Path(__file__).parent / "online" / "startup")


def main() -> None:
    """The `serve` command."""
    prepare_environment()
    file = _our_file(sys.argv[1:])
    if file is None:
        send_token()
        _ray_command()
        return
    try:
        sys.exit(run(file))
    except SetupError as error:
        sys.exit(f"serve run: {error}")


def prepare_environment() -> None:
    """Set what every process of Ray's reads, here and below; before Ray is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    path = [STARTUP, *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    for name, port in ports.OF_RAY_SERVE.items():
        os.environ.setdefault(name, str(ports.free(port)))
    least, most = ports.for_ingress_replicas()
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", str(least))
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT", str(most))


def run(file: Path) -> int:
    """`serve run FILE` from the first check to the last process; the exit status."""
    config = read_config(file)
    host, port = ports.address(config)
    ports.require_free(host, port, file)
    settings = check(config, file)
    for remark in keys.remarks(settings, host):
        print(remark, flush=True)
    _convert([expert.model for expert in settings.experts if expert.model is not None])
    if (gone := _dead_cluster()) is not None:
        print(f"The Ray cluster at {gone} does not answer: starting one here", flush=True)
    log = _log_file()
    print(f"Starting {len(settings.experts)} experts and the router. Log: {log}", flush=True)
    with nothing_left_behind(), output_to(log) as terminal, ended_by_signals(terminal):
        watch = Watch(f"http://{_reachable(host)}:{port}", len(settings.experts), log, terminal)
        watch.start()
        try:
            _ray_command()
        except (SystemExit, KeyboardInterrupt):
            pass
        except Exception as error:
            traceback.print_exc()
            watch.fail(str(error).strip().splitlines()[0])
        return 1 if watch.failed else 0


def _dead_cluster() -> str | None:
    from serve.online.cluster import leave_dead_cluster

    return leave_dead_cluster()


def _ray_command() -> None:
    from ray.serve.scripts import cli

    cli(prog_name="serve")


def _convert(models: list[ModelRef]) -> None:
    """Convert what was never converted, side by side; what was, build checks while Ray is up."""
    missing = [model for model in models if not weights.is_at_hand(model)]
    if not missing:
        return
    with (
        ProcessPoolExecutor(len(missing), mp_context=get_context("spawn")) as pool,
        tqdm(
            total=len(missing),
            desc="Converting models, once, about 2 min",
            bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}",
        ) as bar,
    ):
        waiting = {pool.submit(weights.resolve, model) for model in missing}
        while waiting:
            done, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            bar.update(len(done))


def _our_file(arguments: list[str]) -> Path | None:
    """The config file of `serve run FILE`, where it is one of ours."""
    if arguments[:1] != ["run"]:
        return None
    for argument in arguments[1:]:
        path = Path(argument)
        if path.suffix in (".yaml", ".yml") and path.is_file():
            return path if IMPORT_PATH in path.read_text() else None
    return None


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host


def _log_file() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pointsman" / "logs"
    root.mkdir(parents=True, exist_ok=True)
    return root / f"serve-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
