"""What a load is made of, as command-line options that loadtest.load and Locust both take."""

from __future__ import annotations

import argparse
import ipaddress
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtest.users.schedule import SHAPES
from serve.errors import SetupError

OPTIONS: dict[str, dict[str, Any]] = {
    "model": {
        "default": os.environ.get("LOADTEST_MODEL", "auto"),
        "help": "asked of the endpoint (variable LOADTEST_MODEL; default auto)",
    },
    "shape": {
        "default": "steps",
        "choices": SHAPES,
        "help": "of the load: steps up, a spike and back, or steady (default steps)",
    },
    "levels": {
        "help": "users at once, such as 2,4,8: of each step; a spike takes two, steady one "
        "(default " + "; ".join(f"{n}: {s.levels_text}" for n, s in SHAPES.items()) + ")",
    },
    "minutes": {"default": 1.8, "type": float, "help": "of load (default 1.8)"},
    "sessions": {
        "default": 0.25,
        "type": float,
        "help": "share of the users who hold conversations of several turns (default 0.25)",
    },
    "prompts": {
        "default": Path("deployments/local/prompts.jsonl"),
        "type": Path,
        "help": 'JSON lines, {"prompt" or "messages", "task"?, ...} (default the shipped ones)',
    },
    "lengths": {
        "default": Path("deployments/local/table"),
        "type": Path,
        "help": "a routing table: max_tokens are drawn from its out_tokens (default the shipped)",
    },
    "objectives": {
        "default": Path("loadtest/objectives.yaml"),
        "type": Path,
        "help": "what is wanted, and prices (default loadtest/objectives.yaml)",
    },
    "seed": {"default": 0, "type": int, "help": "of what is drawn (default 0)"},
    "out": {
        "default": Path("results/load"),
        "type": Path,
        "help": "folder of the report (default results/load)",
    },
}


def add(parser: argparse.ArgumentParser) -> None:
    """Have a parser take them."""
    for name, keywords in OPTIONS.items():
        parser.add_argument(f"--{name}", **keywords)
    parser.add_argument(
        "--anywhere", action="store_true", help="also load an endpoint that is not on the loopback"
    )


def command_line(arguments: argparse.Namespace) -> list[str]:
    """The words that give another process's parser the same options."""
    given = {name: vars(arguments)[name] for name in OPTIONS}
    words = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return [*words, "--anywhere"] if arguments.anywhere else words


def check_url(url: str, anywhere: bool) -> None:
    """Load goes to this machine unless it is said to go elsewhere.

    Raises:
        SetupError: to another one.
    """
    host = urlsplit(url).hostname or ""
    if not anywhere and host != "localhost" and not _is_loopback(host):
        raise SetupError(f"{url} is not on the loopback: --anywhere loads it all the same")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
