"""The dated prices that estimates are made with: each as it was read somewhere, with the place and the day."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dual_pipeline.errors import DualPipelineError

TABLE = Path(__file__).with_name("prices.json")
OLD = timedelta(days=180)
ANYWHERE = "any"


class BadPriceTable(DualPipelineError):
    """A price table cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Amount:
    """US dollars, from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def nothing(cls) -> Amount:
        return cls(low=0, high=0)

    def __add__(self, other: Amount) -> Amount:
        return Amount(low=self.low + other.low, high=self.high + other.high)

    def __str__(self) -> str:
        low, high = _dollars(self.low), _dollars(self.high)
        return low if low == high else f"{low} .. {high}"


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one unit of an item costs in a region; `note` says what else the reader should know."""

    item: str
    region: str
    unit: str
    low: float
    high: float
    source: str
    read: date
    note: str = ""


class PriceTable:
    """Prices by item and region; what is not in it has no price, and nobody makes one up."""

    def __init__(self, prices: Mapping[tuple[str, str], Price], *, read: date) -> None:
        self._prices = prices
        self.read = read

    @classmethod
    def load(cls, path: Path = TABLE) -> PriceTable:
        """Read a table from a file.

        Raises BadPriceTable.
        """
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            sources = document["sources"]
            prices = [_price(each, sources) for each in document["prices"]]
        except OSError as error:
            raise BadPriceTable(f"cannot read the price table {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadPriceTable(
                f"the price table {path} is not of the form that docs/cost.md shows: {type(error).__name__} {error}"
            ) from error
        if not prices:
            raise BadPriceTable(f"the price table {path} holds no prices")
        return cls({(price.item, price.region): price for price in prices}, read=min(price.read for price in prices))

    def find(self, item: str, region: str) -> Price | None:
        """The price of an item in a region; prices that are the same everywhere count for every region."""
        return self._prices.get((item, region)) or self._prices.get((item, ANYWHERE))

    def amount(self, item: str, region: str, units: float, *, most: float | None = None) -> Amount | None:
        """The price of `units`, up to that of `most`; None when the item has no price there."""
        price = self.find(item, region)
        if price is None:
            return None
        return Amount(low=price.low * units, high=price.high * (units if most is None else most))

    def age(self, today: date) -> timedelta:
        """How old the oldest price is."""
        return today - self.read


def _price(given: Mapping[str, Any], sources: Mapping[str, Any]) -> Price:
    source = sources[given["source"]]
    low = float(given["usd"])
    high = float(given.get("usd_high", low))
    if not 0 <= low <= high:
        raise ValueError(f"{given['item']}: the price must not be negative, nor below its lower end")
    return Price(
        item=str(given["item"]),
        region=str(given["region"]),
        unit=str(given["unit"]),
        low=low,
        high=high,
        source=str(source["url"]),
        read=date.fromisoformat(source["read"]),
        note=str(given.get("note", "")),
    )


def _dollars(amount: float) -> str:
    if 0 < amount < 0.01:
        return "< $0.01"
    return f"${amount:,.2f}"
