#!/usr/bin/env python3
"""Writes the Grafana dashboard, config/grafana/dashboards/cofio.json: `scripts/dashboard.py`.

The panels are listed here, a line or two each, in the order in which one looks when something is wrong; what Grafana
wants to know of each beside that is the same for all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DASHBOARD: Final = Path(__file__).parents[1] / "config" / "grafana" / "dashboards" / "cofio.json"
SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}  # as provisioning/datasources names it
SCHEMA: Final = 39  # Grafana 11
WIDTH: Final = 24  # columns of a dashboard
HEIGHT: Final = 7
STAT_HEIGHT: Final = 4

# What people send, as the objectives count it.
USERS: Final = 'endpoint!~"/health.*|/metrics|/admin/.*|/docs.*|/redoc|/openapi.json"'
QUERY: Final = 'method="POST", endpoint="/api/v2/query"'
HERE: Final = 'job="cofio", instance=~"$instance"'
RATE: Final = "$__rate_interval"

GREEN: Final = "green"
AMBER: Final = "orange"
RED: Final = "red"
Steps = Sequence[tuple[str, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel: `shown` are expressions by the legend of their series; `steps` colour from a value on."""

    title: str
    shown: Mapping[str, str]
    unit: str = "short"
    told: str = ""
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    steps: Steps = ((GREEN, None),)


def quantiles(histogram: str, by: str = "", chosen: str = "") -> dict[str, str]:
    """The median, 95th and 99th percentile of a histogram over the rate interval."""
    labels = f"{HERE}, {chosen}" if chosen else HERE
    grouped = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return {
        f"{legend}p{level:.0f}": f"histogram_quantile({level / 100:g}, sum by ({grouped}) "
        f"(rate({histogram}_bucket{{{labels}}}[{RATE}])))"
        for level in (50, 95, 99)
    }


def p95(histogram: str, by: str) -> dict[str, str]:
    """The 95th percentile of a histogram by a label."""
    return {
        f"{{{{{by}}}}}": f"histogram_quantile(0.95, sum by (le, {by}) (rate({histogram}_bucket{{{HERE}}}[{RATE}])))"
    }


def rate(counter: str, by: str, chosen: str = "") -> dict[str, str]:
    """What a counter grows by a second, by labels."""
    labels = f"{HERE}, {chosen}" if chosen else HERE
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return {legend: f"sum by ({by}) (rate({counter}{{{labels}}}[{RATE}]))"}


def gauge(name: str, by: str = "", chosen: str = "", over: str = "sum") -> dict[str, str]:
    """A gauge of all instances together, by labels."""
    labels = f"{HERE}, {chosen}" if chosen else HERE
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else name
    return {legend: f"{over} by ({by}) ({name}{{{labels}}})" if by else f"{over}({name}{{{labels}}})"}


def stat(
    title: str, expression: str, unit: str = "short", steps: Steps = ((GREEN, None),), told: str = ""
) -> Panel:
    """A number of now."""
    return Panel(
        title=title, shown={title: expression}, unit=unit, steps=steps, told=told, kind="stat", width=3
    )


ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Now": (
        stat(
            "Ready",
            f"sum(cofio_ready{{{HERE}}})",
            steps=((RED, None), (GREEN, 1)),
            told="Instances that take questions.",
        ),
        stat(
            "Workers missing",
            f"sum(cofio_workers_wanted{{{HERE}}}) - sum(cofio_workers{{{HERE}}})",
            steps=((GREEN, None), (RED, 1)),
        ),
        stat(
            "Error budget left",
            '1 - job:cofio_requests_failed:ratio_rate30d{job="cofio"} / 0.001',
            "percentunit",
            ((RED, None), (AMBER, 0.1), (GREEN, 0.5)),
            "Of the failures that 30 days may have: 0.1 % of the requests.",
        ),
        stat(
            "Latency budget left",
            '1 - job:cofio_queries_slow:ratio_rate30d{job="cofio"} / 0.01',
            "percentunit",
            ((RED, None), (AMBER, 0.1), (GREEN, 0.5)),
            "Of the slow answers that 30 days may have: 1 % of the questions over 200 ms.",
        ),
        stat(
            "Vector store away",
            f"max(cofio_index_breaker_open{{{HERE}}})",
            steps=((GREEN, None), (RED, 1)),
            told="1 while questions are answered without it.",
        ),
        stat("Index debt", f"max(cofio_index_debt{{{HERE}}})", steps=((GREEN, None), (AMBER, 1))),
        stat("Memories", f"max by (job) (sum by (job, instance) (memory_count_by_level{{{HERE}}}))"),
        stat(
            "Newest backup",
            f"time() - (max(cofio_backup_last_success_timestamp_seconds{{{HERE}}}) > 0)",
            "s",
            ((GREEN, None), (AMBER, 86400), (RED, 93600)),
            "Its age; no data where there is none.",
        ),
    ),
    "Objectives": (
        Panel(
            title="Failures, as multiples of the budget",
            shown={
                window: f'job:cofio_requests_failed:ratio_rate{window}{{job="cofio"}} / 0.001'
                for window in ("5m", "1h", "6h", "3d")
            },
            told="1 uses up the budget exactly. Pages at 14.4 (1 h and 5 m) and 6 (6 h and 30 m).",
            width=12,
            steps=((GREEN, None), (AMBER, 1), (RED, 6)),
        ),
        Panel(
            title="Slow questions, as multiples of the budget",
            shown={
                window: f'job:cofio_queries_slow:ratio_rate{window}{{job="cofio"}} / 0.01'
                for window in ("5m", "1h", "6h", "3d")
            },
            told="1 uses up the budget exactly. Pages at 14.4 (1 h and 5 m) and 6 (6 h and 30 m).",
            width=12,
            steps=((GREEN, None), (AMBER, 1), (RED, 6)),
        ),
    ),
    "Requests": (
        Panel(
            title="Requests, by route",
            shown=rate("api_requests_total", "method, endpoint", USERS),
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Answers by status", shown=rate("api_requests_total", "status"), unit="reqps", stacked=True
        ),
        Panel(title="Being answered", shown=gauge("api_active_requests", "instance")),
        Panel(
            title="Questions: time to answer",
            shown=quantiles("api_request_duration_seconds", chosen=QUERY),
            unit="s",
        ),
        Panel(title="All routes: p95", shown=p95("api_request_duration_seconds", "endpoint"), unit="s"),
        Panel(
            title="Refused, by problem",
            shown=rate("cofio_problems_total", "code"),
            unit="reqps",
            stacked=True,
        ),
        Panel(title="Over their rate", shown=rate("cofio_rate_limited_total", "kind"), unit="reqps"),
        Panel(
            title="Shared rates out of reach",
            shown={"{{instance}}": f"increase(cofio_rate_storage_failures_total{{{HERE}}}[{RATE}])"},
            told="Each process counts for itself while Redis does not answer.",
        ),
        Panel(
            title="Share of failed requests",
            shown={"5 minutes": 'job:cofio_requests_failed:ratio_rate5m{job="cofio"}'},
            unit="percentunit",
        ),
    ),
    "Questions": (
        Panel(title="Not from the cache: time to answer", shown=quantiles("cofio_query_seconds"), unit="s"),
        Panel(title="Stages of a question: p95", shown=p95("cofio_query_stage_seconds", "stage"), unit="s"),
        Panel(
            title="Stages of a question: share of the time",
            shown={"{{stage}}": f"sum by (stage) (rate(cofio_query_stage_seconds_sum{{{HERE}}}[{RATE}]))"},
            told="Seconds spent a second.",
            unit="s",
            stacked=True,
        ),
        Panel(
            title="From the cache",
            shown={
                "hits": f'sum(rate(cofio_cache_events_total{{{HERE}, event="hits"}}[{RATE}])) '
                f'/ sum(rate(cofio_cache_events_total{{{HERE}, event=~"hits|misses"}}[{RATE}]))'
            },
            unit="percentunit",
        ),
        Panel(
            title="Cache",
            shown=rate("cofio_cache_events_total", "event") | gauge("cofio_cache_entries"),
        ),
        Panel(
            title="Degraded, by what was missing",
            shown=rate("cofio_degraded_answers_total", "missing"),
            unit="reqps",
        ),
    ),
    "Ingest": (
        Panel(
            title="Meetings, by outcome", shown=rate("cofio_ingested_meetings_total", "outcome"), stacked=True
        ),
        Panel(
            title="Meetings, by format", shown=rate("cofio_ingested_meetings_total", "format"), stacked=True
        ),
        Panel(
            title="Not taken, by format", shown=rate("cofio_ingest_failures_total", "format"), stacked=True
        ),
        Panel(title="Not taken, by error", shown=rate("cofio_ingest_failures_total", "code"), stacked=True),
        Panel(title="Time to store a meeting", shown=quantiles("cofio_ingest_seconds"), unit="s"),
        Panel(title="Stages of an ingest: p95", shown=p95("cofio_ingest_stage_seconds", "stage"), unit="s"),
        Panel(title="Accepted meetings that wait", shown=gauge("cofio_ingest_queue_meetings", over="max")),
    ),
    "Encoder": (
        Panel(title="Questions that wait", shown=gauge("cofio_query_queue_questions")),
        Panel(title="Texts that wait", shown=gauge("cofio_encoder_queue_texts", "kind")),
        Panel(title="Texts of a call", shown=quantiles("cofio_encoder_batch_texts", "kind")),
        Panel(title="Time of a call: p95", shown=p95("cofio_encoder_batch_seconds", "kind"), unit="s"),
        Panel(
            title="Runs on", shown=gauge("cofio_encoder_info", "provider, precision"), kind="stat", width=12
        ),
        Panel(
            title="GPU memory",
            shown=gauge("cofio_gpu_memory_used_bytes", "gpu")
            | {"of {{gpu}}": f"sum by (gpu) (cofio_gpu_memory_total_bytes{{{HERE}}})"},
            unit="bytes",
            told="Only where the encoder runs on a GPU.",
            width=12,
        ),
    ),
    "Memory, graph and index": (
        Panel(
            title="Memories, by level",
            shown=gauge("memory_count_by_level", "level", over="max"),
            stacked=True,
        ),
        Panel(title="Graph", shown=gauge("cofio_graph_size", "kind", over="max")),
        Panel(title="Version of the graph", shown=gauge("cofio_graph_version", "instance", over="max")),
        Panel(
            title="Vectors",
            shown=gauge("cofio_index_points", over="max") | gauge("cofio_index_points_indexed", over="max"),
            told="Those that are not indexed are scanned by every search.",
        ),
        Panel(
            title="Changes that the index is owed", shown=gauge("cofio_index_debt", "instance", over="max")
        ),
        Panel(
            title="Vector store",
            shown={
                "left alone": f"max(cofio_index_breaker_open{{{HERE}}})",
                "building": f"max(cofio_index_building{{{HERE}}})",
                "made anew": f"max(cofio_rebuilding{{{HERE}}})",
                "times left alone in an hour": f"sum(increase(cofio_index_breaker_openings_total{{{HERE}}}[1h]))",
            },
        ),
    ),
    "Processes and disks": (
        Panel(title="Event loop: lag", shown=quantiles("cofio_event_loop_lag_seconds"), unit="s"),
        Panel(
            title="Event loop: worst of a minute",
            shown=gauge("cofio_event_loop_lag_worst_seconds", "instance", over="max"),
            unit="s",
        ),
        Panel(
            title="Work behind the requests: errors in an hour",
            shown={"{{work}}": f"sum by (work) (increase(cofio_background_failures_total{{{HERE}}}[1h]))"},
        ),
        Panel(
            title="Workers",
            shown=gauge("cofio_workers", "instance")
            | {"wanted {{instance}}": f"sum by (instance) (cofio_workers_wanted{{{HERE}}})"},
        ),
        Panel(
            title="Resident memory",
            shown=gauge("cofio_resident_memory_bytes", "instance, process"),
            unit="bytes",
            stacked=True,
        ),
        Panel(
            title="Memory of the container or machine",
            shown=gauge("cofio_memory_used_bytes", "instance")
            | {"limit {{instance}}": f"sum by (instance) (cofio_memory_limit_bytes{{{HERE}}})"},
            unit="bytes",
        ),
        Panel(
            title="Stores", shown=gauge("cofio_store_bytes", "store", over="max"), unit="bytes", stacked=True
        ),
        Panel(
            title="Disk that is free",
            shown=gauge("cofio_disk_free_bytes", "folder", over="min"),
            unit="bytes",
        ),
        Panel(
            title="Disk that is free, share",
            shown={
                "{{folder}}": f"min by (folder) (cofio_disk_free_bytes{{{HERE}}} / cofio_disk_size_bytes{{{HERE}}})"
            },
            unit="percentunit",
            steps=((RED, None), (AMBER, 0.05), (GREEN, 0.3)),
        ),
        Panel(title="Versions", shown=gauge("cofio_build_info", "version, python"), kind="stat"),
    ),
}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": "cofio",
        "title": "cofio",
        "tags": ["cofio"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_instances()]},
        "links": [],
        "annotations": {"list": [_restarts()]},
        "panels": list(_panels()),
    }


def _panels() -> Iterator[dict[str, Any]]:
    number = top = 0
    for row, panels in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
        }
        top += 1
        left = height = 0
        for panel in panels:
            if left + panel.width > WIDTH:
                left, top = 0, top + height
            number += 1
            height = STAT_HEIGHT if row == "Now" else HEIGHT
            place = {"x": left, "y": top, "w": panel.width, "h": height}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            left += panel.width
        top += height


def _panel(panel: Panel) -> dict[str, Any]:
    custom: dict[str, Any] = {
        "fillOpacity": 20 if panel.stacked else 0,
        "lineWidth": 1,
        "showPoints": "never",
    }
    if panel.stacked:
        custom["stacking"] = {"mode": "normal"}
    if len(panel.steps) > 1:
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.told,
        "datasource": SOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": panel.kind == "stat",
                "range": panel.kind != "stat",
            }
            for number, (legend, expression) in enumerate(panel.shown.items())
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": None if panel.unit == "percentunit" and panel.kind == "stat" else 0,
                "custom": custom if panel.kind == "timeseries" else {},
                "thresholds": {
                    "mode": "absolute",
                    "steps": [{"color": colour, "value": value} for colour, value in panel.steps],
                },
            },
            "overrides": [],
        },
        "options": (
            {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
            if panel.kind == "timeseries"
            else {
                "colorMode": "background" if len(panel.steps) > 1 else "none",
                "graphMode": "none",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "textMode": "auto" if len(panel.shown) == 1 and panel.width == 3 else "name",
            }
        ),
    }


def _instances() -> dict[str, Any]:
    query = 'label_values(up{job="cofio"}, instance)'
    return {
        "name": "instance",
        "label": "Instance",
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": "instances"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _restarts() -> dict[str, Any]:
    return {
        "name": "Came up",
        "datasource": SOURCE,
        "enable": True,
        "expr": 'up{job="cofio"} == 1 and up{job="cofio"} offset 1m == 0',
        "iconColor": "blue",
        "titleFormat": "{{instance}} is back",
    }


def text() -> str:
    """The file that Grafana is given."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    DASHBOARD.write_text(text(), encoding="utf-8")
