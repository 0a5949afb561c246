from __future__ import annotations

import pytest

from serve.errors import TableError
from serve.offline.readers import registry
from serve.offline.readers.registry import READERS


def test_every_reader_is_registered_under_its_file_name():
    modules = {reader.__module__.rpartition(".")[2] for reader in READERS.values()}
    assert set(READERS) == modules
    assert all(hasattr(registry, name) for name in READERS)


@pytest.mark.parametrize("name", READERS)
def test_a_path_that_is_not_there_is_one_line(name, tmp_path):
    with pytest.raises(TableError) as refused:
        READERS[name](tmp_path / "none")
    assert "none" in str(refused.value) and "\n" not in str(refused.value)
