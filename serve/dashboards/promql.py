"""PromQL over what Ray exports.

Ray's agents add labels of their own (WorkerId, NodeAddress, ...), and every replica and node has
series of its own, so everything here is summed, by the labels that a panel shows.
"""

from __future__ import annotations

WINDOW = "$__rate_interval"
"""Grafana's: at least four scrapes, longer where the panel shows a longer time."""


def summed(metric: str, by: str = "", where: str = "") -> str:
    """What a gauge says now, or a counter has counted since its node's agent started.

    Args:
        metric: its name in Prometheus.
        by: labels to keep, separated by commas; none: one number.
        where: matchers, as they stand between braces.
    """
    return f"sum{_by(by)} ({metric}{_braced(where)})"


def per_second(counter: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """How fast a counter grows; arguments as of `summed`."""
    return f"sum{_by(by)} (rate({counter}{_braced(where)}[{window}]))"


def grown(counter: str, by: str = "", where: str = "") -> str:
    """What a counter counted in the time that the dashboard shows: Prometheus's estimate.

    A counter appears with what it has counted by then, which Prometheus does not see grow.
    """
    return f"sum{_by(by)} (increase({counter}{_braced(where)}[$__range]))"


def mean(histogram: str, by: str = "", where: str = "", window: str = WINDOW) -> str:
    """Mean of what a histogram observed.

    Ray hands on counts of buckets alone, and its agent takes each bucket's middle for all that
    is in it: the mean is as coarse as the buckets.
    """
    total = per_second(f"{histogram}_sum", by, where, window)
    return f"{total} / {per_second(f'{histogram}_count', by, where, window)}"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    """The value that a share `q` (0..1) of the observations stays under, between two bounds."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {per_second(f'{histogram}_bucket', labels, where)})"


def share(part: str, whole: str) -> str:
    """One number over another; 0, not nothing, before the part was ever counted."""
    return f"({part} or vector(0)) / {whole}"


def counted(expr: str, by: str = "", where: str = "") -> str:
    """The same, and 0 where nothing was counted: what is rare has no series until it happens.

    Args:
        expr: of such a counter.
        by: `expert` where it is by expert: each gets its 0; else there is one.
        where: matchers of the experts.
    """
    if not by:
        return f"{expr} or vector(0)"
    return f"{expr} or 0 * {summed('ray_pointsman_requests_total', by, where)}"


def difference(gained: str, lost: str) -> str:
    """Gained minus lost, series by series, where either may never have been counted."""
    return f"({gained} or 0 * {lost}) - ({lost} or 0 * {gained})"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


def _braced(matchers: str) -> str:
    return f"{{{matchers}}}" if matchers else ""
