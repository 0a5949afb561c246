from __future__ import annotations

import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from serve.online.loopback_haproxy import on_loopback

PORTS = [
    "bind :{{ config.metrics_port }}",
    "bind *:{{ config.stats_port }}",
]


def test_the_installed_rays_template_is_mended():
    assert all(port in HAPROXY_CONFIG_TEMPLATE for port in PORTS)
    mended = on_loopback(HAPROXY_CONFIG_TEMPLATE)
    assert not any(port in mended for port in PORTS)
    assert "bind 127.0.0.1:{{ config.metrics_port }}" in mended
    assert "bind 127.0.0.1:{{ config.stats_port }}" in mended
    assert "bind {{ config.frontend_host }}:{{ config.frontend_port }}" in mended


def test_a_mended_file_stays_as_it_is():
    mended = on_loopback(HAPROXY_CONFIG_TEMPLATE)
    assert on_loopback(mended) == mended


def test_a_template_that_changed_stops_the_start():
    with pytest.raises(SystemExit, match="expected 2 open ports"):
        on_loopback("frontend other\n  bind *:1\n")
