"""The Grafana dashboard and the alert rules as data, for tests."""
import json
import re
from typing import List, NamedTuple, Set

FOLDER = "deploy/components/monitoring"
# What an expression may name besides metrics of ours that begin with it.
HISTOGRAM_SUFFIX = re.compile(r"_(bucket|sum|count)$")


class Query(NamedTuple):
    panel: str
    expr: str


def panels() -> List[dict]:
    with open(f"{FOLDER}/dashboard.json", encoding="utf-8") as file:
        return json.load(file)["panels"]


def queries() -> List[Query]:
    return [Query(panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", [])]


def for_prometheus(expr: str, interval: str) -> str:
    """The expression as Grafana would send it, for all models."""
    return expr.replace("$__rate_interval", interval).replace("$model_name", ".*")


def metrics_in(expr: str) -> Set[str]:
    """The series that an expression names."""
    return set(re.findall(r"\bquire_[a-z0-9_]+", expr))


def families_on(page: str) -> dict:
    """Of a page in Prometheus' text format: family -> type."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))


def is_on(families: dict, series: str) -> bool:
    if series in families:
        return families[series] != "histogram"
    return families.get(HISTOGRAM_SUFFIX.sub("", series)) == "histogram"
