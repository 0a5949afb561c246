"""Feedback in a real SQLite and, where its server is installed, a real PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serve.errors import RepeatedFeedback, SettingsError, UnknownRequest
from serve.feedback import Dispatched, FeedbackStore, Scored

POSTGRES_BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
START_S = 60


def request(i, *, at=0.0, prompt="why?"):
    return Dispatched(f"r{i}", at, "small", "default@1", prompt)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """URL of a PostgreSQL of this session's own."""
    if POSTGRES_BIN is None or shutil.which("su") is None:
        pytest.skip("no PostgreSQL server here: install Debian's package postgresql to run this")
    # The server refuses to run as root, and its user must reach the folder.
    folder = Path("/tmp") / f"pointsman-postgres-{os.getpid()}"
    folder.mkdir(mode=0o755)
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    shutil.chown(folder, user)
    become = ["setpriv", "--reuid", user, "--clear-groups"] if os.getuid() == 0 else []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    subprocess.run(
        [*become, POSTGRES_BIN / "initdb", "-D", data, "-A", "trust", "-U", "pointsman"],
        check=True, capture_output=True, cwd="/",
    )  # fmt: skip
    options = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*become, POSTGRES_BIN / "postgres", *options], stdout=log, stderr=log, cwd="/"
        )
    url = f"postgresql+psycopg://pointsman@127.0.0.1:{port}/postgres"
    deadline = time.monotonic() + START_S
    while True:
        try:
            FeedbackStore(url)
            break
        except SettingsError:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
    yield url
    server.send_signal(signal.SIGINT)  # ends sessions too; SIGTERM waits for them
    server.wait(30)
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/feedback.sqlite"
    return request.getfixturevalue("postgres")


def test_a_score_is_kept_with_its_prompt(url):
    store = FeedbackStore(url)
    store.remember([request(1), request(2)])
    store.score("r2", 0.25, at=2.0)
    assert FeedbackStore(url).scored() == ([Scored("why?", "small", 0.25)], 0)
    store.forget(before=1.0)
    assert store.scored() == ([], 0)


def test_an_unknown_and_a_repeated_id_are_told_apart(url):
    store = FeedbackStore(url)
    store.remember([request("x")])
    with pytest.raises(UnknownRequest, match="'nobody'"):
        store.score("nobody", 1.0, at=0.0)
    store.score("rx", 1.0, at=0.0)
    with pytest.raises(RepeatedFeedback, match="'rx'"):
        store.score("rx", 0.0, at=0.0)
    assert store.scored()[0][0].score == 1.0
    store.forget(before=1.0)


def test_the_first_of_two_requests_with_one_id_stays(url):
    store = FeedbackStore(url)
    store.remember([request(1)])
    store.remember([Dispatched("r1", 0.0, "large", "", "other"), request(7)])
    store.score("r1", 1.0, at=0.0)
    assert store.scored()[0] == [Scored("why?", "small", 1.0)]
    store.forget(before=1.0)


def test_a_score_without_a_prompt_is_counted_not_learned(tmp_path):
    store = FeedbackStore(f"sqlite:///{tmp_path}/f.sqlite")
    store.remember([request(1, prompt=None)])
    store.score("r1", 1.0, at=0.0)
    assert store.scored() == ([], 1)


def test_replicas_write_side_by_side_and_nothing_is_lost(url):
    stores = [FeedbackStore(url) for _ in range(4)]

    def replica(number):
        for i in range(25):
            stores[number].remember([request(f"{number}-{i}")])
            stores[number].score(f"r{number}-{i}", 0.5, at=0.0)

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(replica, range(len(stores))))
    assert len(stores[0].scored()[0]) == 100
    stores[0].forget(before=1.0)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://host/db", "neither sqlite nor postgresql"),
        ("not a url", "records.database"),
        ("sqlite:////proc/none/f.sqlite", "cannot be opened"),
        ("postgresql+psycopg://127.0.0.1:1/db", "cannot be opened"),
    ],
)
def test_a_database_that_cannot_be_had_is_one_line(url, told):
    with pytest.raises(SettingsError, match=told) as caught:
        FeedbackStore(url)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path):
    file = tmp_path / "f.sqlite"
    file.write_text("these are not the bytes of a database, and there are enough of them" * 9)
    with pytest.raises(SettingsError, match="not a database"):
        FeedbackStore(f"sqlite:///{file}")


def test_only_its_owner_may_read_it(tmp_path):
    FeedbackStore(f"sqlite:///{tmp_path}/f.sqlite").remember([request(1)])
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.glob("f.sqlite*"))
