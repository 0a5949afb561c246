"""How our dashboards look: what every panel and every dashboard has in common."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import units

from serve.dashboards.expressions import metrics_of

USD = units.Dollars
SECONDS = units.Seconds
SHARE = units.PercentUnit
COUNT = units.Short
PER_SECOND = units.CountsPerSecond
REQUESTS = units.RequestsPerSecond

HALF, THIRD, QUARTER = 12, 8, 6
"""Widths of panels, of Grafana's 24 columns."""

Panel: TypeAlias = timeseries.Panel | stat.Panel | bargauge.Panel

_SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_LAST = common.ReduceDataOptions().calcs(["lastNotNull"])


@dataclass(frozen=True)
class Query:
    """One expression of a panel.

    Attributes:
        expr: PromQL.
        legend: name of each of its series; Grafana fills in {{label}}.
    """

    expr: str
    legend: str


@dataclass(frozen=True)
class Row:
    """Panels under a heading, side by side."""

    title: str
    panels: Sequence[Panel]


def lines(
    title: str,
    says: str,
    unit: str,
    *queries: Query,
    width: int = HALF,
    top: float | None = None,
    stacked: bool = False,
) -> timeseries.Panel:
    """Series over time; the legend has each one's mean, maximum and last value.

    Args:
        title: of the panel.
        says: what is seen; the names of the metrics are put behind it.
        unit: Grafana's name of it.
        queries: what is drawn.
        width: of 24 columns.
        top: of the axis, where the values have an upper bound.
        stacked: parts of a whole, one upon another.
    """
    legend = (
        common.VizLegendOptions()
        .display_mode(looks.LegendDisplayMode.TABLE)
        .placement(looks.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["mean", "max", "lastNotNull"])
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(_described(says, queries))
        .datasource(_SOURCE)
        .targets([_target(query, i).range() for i, query in enumerate(queries)])
        .unit(unit)
        .axis_soft_min(0)
        .height(8)
        .span(width)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI))
        .show_points(looks.VisibilityMode.AUTO)
    )
    if top is not None:
        panel.axis_soft_max(top)
    if stacked:
        panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL)).fill_opacity(30)
    return panel


def number(
    title: str,
    says: str,
    unit: str,
    query: Query,
    *,
    width: int = QUARTER,
    words: Mapping[int, str] | None = None,
) -> stat.Panel:
    """What holds at the end of the time shown, a number for each series.

    Args:
        title: of the panel.
        says: what is seen.
        unit: Grafana's name of it.
        query: what is shown.
        width: of 24 columns.
        words: what to show in place of some values.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(_described(says, [query]))
        .datasource(_SOURCE)
        .targets([_target(query, 0).instant()])
        .unit(unit)
        .height(4)
        .span(width)
        .color_mode(looks.BigValueColorMode.NONE)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .reduce_options(_LAST)
        .no_value("none yet")
    )
    if words:
        shown = {str(k): models.ValueMappingResult(text=text) for k, text in words.items()}
        panel.mappings([models.ValueMap(options=shown)])
    return panel


def bars(title: str, says: str, unit: str, *queries: Query, width: int = HALF) -> bargauge.Panel:
    """As `number`, compared side by side; of values from 0 to 1."""
    # A color for each series: without it Grafana paints by thresholds, red from 80.
    by_series = grafana.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC)
    return (
        bargauge.Panel()
        .title(title)
        .description(_described(says, queries))
        .datasource(_SOURCE)
        .targets([_target(query, i).instant() for i, query in enumerate(queries)])
        .unit(unit)
        .min(0)
        .max(1)
        .color_scheme(by_series)
        .reduce_options(_LAST)
        .orientation(looks.VizOrientation.HORIZONTAL)
        .height(8)
        .span(width)
        .no_value("none yet")
    )


def choice(label: str, metric: str) -> grafana.QueryVariable:
    """A variable over a label's values in a metric: any number of them, all by default."""
    return (
        grafana.QueryVariable(label)
        .label(label)
        .datasource(_SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def dashboard(
    name: str, says: str, variables: Sequence[grafana.QueryVariable], rows: Sequence[Row]
) -> models.Dashboard:
    """A dashboard of our own.

    Args:
        name: one word, distinct; part of its title and its uid.
        says: what it answers.
        variables: what a viewer may choose besides the data source.
        rows: its panels.
    """
    link = grafana.DashboardLink("pointsman").type(models.DashboardLinkType.DASHBOARDS)
    builder = (
        grafana.Dashboard(f"pointsman {name}")
        .uid(f"pointsman-{name}")
        .description(says)
        .tags(["pointsman"])
        .editable()
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(link.tags(["pointsman"]).include_vars(True).keep_time(True))
        .with_variable(
            grafana.DatasourceVariable("datasource").label("data source").type("prometheus")
        )
    )
    for variable in variables:
        builder.with_variable(variable)
    ids = itertools.count(1)
    for row in rows:
        builder.with_row(grafana.Row(row.title).id(next(ids)))
        for panel in row.panels:
            builder.with_panel(panel.id(next(ids)))
    return builder.build()


def _target(query: Query, place: int) -> prometheus.Dataquery:
    # Grafana wants the queries of a panel told apart by a letter.
    made = prometheus.Dataquery().ref_id(chr(ord("A") + place)).datasource(_SOURCE)
    return made.expr(query.expr).legend_format(query.legend)


def _described(says: str, queries: Sequence[Query]) -> str:
    names = sorted({name for query in queries for name in metrics_of(query.expr)})
    return f"{says}\n\nFrom {', '.join(f'`{name}`' for name in names)}."
