from __future__ import annotations

import urllib.error

import pytest

from serve.config import RolloutSettings
from serve.errors import SetupError
from serve.online import promote
from serve.online.promote import promoted, roll_out, with_rollout
from serve.settings_file import IMPORT_PATH, rollout_of

NOW = RolloutSettings(artifact="/old")


def config(**ours):
    other = {"name": "other", "import_path": "other:app"}
    return {"applications": [other, {"name": "p", "import_path": IMPORT_PATH, **ours}]}


class FakeRunning:
    """Answers /v1/router from a list, one entry a call; keeps what was deployed."""

    def __init__(self, answers, count=2):
        self.config, self._answers, self._count = config(), list(answers), count
        self.deployed = []

    def replicas(self):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def count(self):
        return self._count

    def deploy(self, changed):
        self.deployed.append(rollout_of(changed, "test"))


def refused_key():
    return urllib.error.HTTPError("http://x/v1/router", 401, "Unauthorized", {}, None)


def line(router, refused=None):
    return {"router": router, "refused": refused}


def took(said):
    return said["router"] == "new"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(promote, "POLL_S", 0.0)
    monkeypatch.setattr(promote, "TIMEOUT_S", 1.0)


def test_an_artifact_that_serves_takes_the_challengers_seat_away(tmp_path):
    watching = promoted(NOW, tmp_path / "b", 0.1)
    assert watching.artifact == "/old"
    assert watching.challenger.artifact == str(tmp_path / "b") and watching.challenger.share == 0.1
    served = promoted(watching, tmp_path / "b", None)
    assert served == RolloutSettings(artifact=str(tmp_path / "b"))


def test_only_our_ingress_gets_a_user_config():
    before = config(deployments=[{"name": "LLMServer:a", "num_replicas": 2}])
    after = with_rollout(before, NOW)
    assert "deployments" not in after["applications"][0]
    assert after["applications"][1]["deployments"][0] == {"name": "LLMServer:a", "num_replicas": 2}
    assert rollout_of(after, "test") == NOW
    assert with_rollout(after, NOW) == after and rollout_of(before, "test") == RolloutSettings()


def test_it_waits_for_every_replica():
    answers = [
        urllib.error.URLError("none yet"),
        [line("new")],
        [line("new"), line("old")],
        [line("new"), line("new")],
    ]
    running = FakeRunning(answers)
    assert roll_out(running, NOW, RolloutSettings(artifact="/new"), took) == answers[-1]
    assert running.deployed == [RolloutSettings(artifact="/new")]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ([line("new"), line("old", refused="no artifact here")], "no artifact here"),
        ([line("new")], "not every replica answered in time"),
        (refused_key(), "wants an admin's key in POINTSMAN_API_KEY"),
        (urllib.error.URLError("gone"), "gone"),
    ],
)
def test_what_a_replica_does_not_take_is_taken_back_from_all(answer, why):
    running = FakeRunning([answer])
    with pytest.raises(SetupError, match=f"the old router serves on: .*{why}"):
        roll_out(running, NOW, RolloutSettings(artifact="/new"), took)
    assert running.deployed == [RolloutSettings(artifact="/new"), NOW]


def test_an_application_without_user_config_is_told_of_an_empty_one():
    running = FakeRunning([[line("new", refused="broken")]])
    with pytest.raises(SetupError):
        roll_out(running, RolloutSettings(), RolloutSettings(artifact="/new"), took)
    back = with_rollout(running.config, RolloutSettings())
    assert back["applications"][1]["deployments"] == [{"name": "RouterIngress", "user_config": {}}]
