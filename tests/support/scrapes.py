"""What is read from a scrape."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from support.servers import Server, wait_until


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self._samples = [sample for family in self.families for sample in family.samples]
        self.names = {sample.name for sample in self._samples}

    def get(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of a name that have these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values of a label."""
        return {sample.labels[label] for sample in self._samples if sample.name == name}


def scrape(server: Server) -> Scrape:
    answer = server.get("/metrics", timeout_s=10)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return Scrape(answer.text)


def wait_for(server: Server, wanted: dict[tuple[str, str], float], timeout_s: float = 20.0) -> Scrape:
    """Scrape until these are the values: by name and the value of some label, ``""`` for all."""
    found: dict[tuple[str, str], float] = {}
    last = Scrape("")

    def there() -> bool:
        nonlocal last
        last = scrape(server)
        found.update({key: _value(last, *key) for key in wanted})
        return found == wanted

    assert wait_until(there, timeout_s=timeout_s, interval_s=0.1), f"waited for {wanted}, found {found}"
    return last


def _value(found: Scrape, name: str, value: str) -> float:
    return sum(
        sample.value
        for family in found.families
        for sample in family.samples
        if sample.name == name and (not value or value in sample.labels.values())
    )
