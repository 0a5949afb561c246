from __future__ import annotations

import sys

import pytest

from serve.config import ExpertSettings
from serve.engine_arguments import require_known, written
from serve.errors import SettingsError


def expert(**engine):
    return ExpertSettings(id="e", model="org/model", engine=engine)


def test_a_name_that_is_not_known_is_refused_with_what_is_near():
    require_known(expert(seed=1), {"seed", "max_model_len"})
    with pytest.raises(SettingsError) as raised:
        require_known(expert(max_model_length=1), {"seed", "max_model_len"})
    said = "experts.e.engine.max_model_length: vLLM has no such; near it: max_model_len"
    assert str(raised.value) == said


def test_vllms_own_are_read_without_importing_it(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    names = written()
    assert names is not None and {"max_model_len", "enable_auto_tool_choice"} <= names
    assert "vllm" not in sys.modules


def test_a_vllm_that_keeps_them_elsewhere_is_not_guessed_at(tmp_path, monkeypatch):
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert written() is None
