from __future__ import annotations

import argparse

import pytest

from loadtest.users import options
from serve.errors import SetupError


def parsed(*words):
    parser = argparse.ArgumentParser()
    options.add(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    "words", [[], ["--shape=spike", "--levels=1,5", "--minutes=0.5", "--seed=7", "--anywhere"]]
)
def test_another_process_gets_the_same_options(words):
    assert parsed(*options.command_line(parsed(*words))) == parsed(*words)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_this_machine_is_loaded(host):
    options.check_url(f"http://{host}:8000/v1", anywhere=False)


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.7:8000/v1", "https://api.example.com/v1", "http://127.0.0.1.example/v1", ""],
)
def test_another_one_only_when_told(url):
    with pytest.raises(SetupError, match="--anywhere"):
        options.check_url(url, anywhere=False)
    options.check_url(url, anywhere=True)
