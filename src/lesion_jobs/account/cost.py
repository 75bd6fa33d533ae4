"""Cost: what a job will cost at most, by the AWS Price List.

No price is hard-coded; if the query fails, the cost is unknown, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

PRICE_LIST_REGION = "us-east-1"  # one of the few where the Price List answers, for all others
BilledAs = Literal["Training", "Hosting", "BatchTransform", "Processing"]  # the price list's `platoinstancetype`


@dataclass(frozen=True)
class Price:
    """US dollars an hour of one machine, or why they are unknown."""

    usd_per_hour: float | None
    unknown_because: str = ""


def ask_price(aws: Any, instance_type: str, region: str, billed_as: BilledAs) -> Price:
    """The price on demand in `region`, from the Price List, asked through `aws`, a boto3.Session.

    Needs the permission `pricing:GetProducts`. An error makes the price unknown and never stops a job.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    quick = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})
    wanted = {"productFamily": "ML Instance", "regionCode": region, "instanceName": instance_type}
    wanted["platoinstancetype"] = billed_as
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    try:
        client = aws.client("pricing", region_name=PRICE_LIST_REGION, config=quick)
        answer = client.get_products(ServiceCode="AmazonSageMaker", Filters=filters)
    except (BotoCoreError, ClientError) as error:
        return Price(None, f"the price list did not answer ({error})")
    return read_price(answer["PriceList"])


def read_price(offers: Sequence[str]) -> Price:
    """The highest hourly price on demand among the offers, each a JSON document of the Price List."""
    dimensions = [
        dimension
        for offer in offers
        for term in json.loads(offer).get("terms", {}).get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
    ]
    prices = [float(d["pricePerUnit"]["USD"]) for d in dimensions if d["unit"] in {"Hrs", "Hours"}]
    return Price(max(prices)) if prices else Price(None, "the price list has no such machine in this region")


def cost_line(
    price: Price, instance_type: str, *, num_instances: int = 1, max_hours: float | None, until: str = ""
) -> str:
    """The cost as one line. Without `max_hours` it is a price per hour `until` something ends it."""
    machines = f"{num_instances} × {instance_type}"
    if price.usd_per_hour is None:
        limit = f", for at most {max_hours:g} h" if max_hours is not None else f", until {until}"
        return f"cost: unknown, because {price.unknown_because}: {machines}{limit}"
    per_hour = num_instances * price.usd_per_hour
    if max_hours is None:
        return f"cost: {per_hour:.2f} USD an hour for {machines}, until {until}; storage and traffic are extra"
    return (
        f"cost: at most {per_hour * max_hours:.2f} USD ({machines} × {price.usd_per_hour:.4g} USD an hour × "
        f"{max_hours:g} h); storage and traffic are extra"
    )
