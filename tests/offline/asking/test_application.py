from __future__ import annotations

from serve.offline.asking.application import of_one_expert, without_router
from serve.settings_file import read_config, settings_of


def test_the_application_to_ask_has_the_same_experts_no_router_and_a_port_of_its_own(repository):
    file = repository / "deployments/local.yaml"
    config = read_config(file)
    key = {"name": "a", "sha256": "0" * 64}
    config["applications"][0]["args"]["access"] = {"keys": [key]}
    plain = without_router(config, 12345)
    before, after = settings_of(config, file), settings_of(plain, file)
    assert after.experts == before.experts
    assert before.router.artifact and after.router.artifact is None
    assert after.router.encoder == before.router.encoder
    assert after.records.log is None and after.records.database is None
    assert after.access.open
    assert plain["http_options"] == {"host": "127.0.0.1", "port": 12345}


def test_an_expert_alone_is_an_application_that_can_be_checked(repository):
    config = read_config(repository / "deployments/local.yaml")
    entry = config["applications"][0]["args"]["experts"][1]
    alone = settings_of(without_router(of_one_expert(entry), 12345), repository / "new.yaml")
    assert [expert.id for expert in alone.experts] == [entry["id"]]
