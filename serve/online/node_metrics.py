"""Reads the Prometheus text that Ray's agent exports for this node."""

from __future__ import annotations

import aiohttp
import ray

from serve.errors import ExpertUnavailable

TIMEOUT_S = 5.0


async def node_metrics() -> str:
    """The text of one scrape.

    Raises:
        ExpertUnavailable: the agent does not answer.
    """
    here = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == here)
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ExpertUnavailable(
            f"Ray's metrics agent on this node does not answer: {error}", code="metrics_unavailable"
        ) from error
