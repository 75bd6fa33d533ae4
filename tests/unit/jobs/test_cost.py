"""Cost and logs: what is said before a job starts. The offers have the shape of the Price List's own documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire import account

from lesion.errors import UserError
from lesion_jobs import Environment, estimate
from lesion_jobs.account.announce import log_url
from lesion_jobs.account.cost import Price, cost_line, read_price
from lesion_jobs.account.kinds import ENDPOINT, TRAINING


def offer(usd: str, unit: str = "Hrs") -> str:
    dimension = {"unit": unit, "pricePerUnit": {"USD": usd}, "description": "…"}
    return json.dumps({"product": {}, "terms": {"OnDemand": {"A.B": {"priceDimensions": {"A.B.C": dimension}}}}})


def test_the_highest_hourly_price_is_taken_since_it_is_to_be_a_bound():
    offers = [offer("0.7364000000"), offer("1.4080000000"), offer("99", "GB-Mo"), json.dumps({"terms": {}})]
    assert read_price(offers) == Price(1.408)


def test_no_offer_is_an_unknown_price_not_a_free_machine():
    assert read_price([]).usd_per_hour is None
    line = cost_line(read_price([]), "ml.g4dn.xlarge", max_hours=24)
    assert line.startswith("cost: unknown, because the price list has no such machine in this region")
    assert "1 × ml.g4dn.xlarge, for at most 24 h" in line


def test_a_bound_is_price_times_machines_times_hours():
    # 0.736 × 2 × 3 = 4.416, by hand
    assert "at most 4.42 USD (2 × ml.g4dn.xlarge × 0.736 USD an hour × 3 h)" in cost_line(
        Price(0.736), "ml.g4dn.xlarge", num_instances=2, max_hours=3
    )


def test_what_has_no_end_has_a_price_an_hour_and_says_what_ends_it():
    line = cost_line(Price(0.736), "ml.g4dn.xlarge", num_instances=2, max_hours=None, until=ENDPOINT.until)
    assert line.startswith("cost: 1.47 USD an hour for 2 × ml.g4dn.xlarge, until delete_endpoint(endpoint)")


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "console.aws.amazon.com"),
        ("cn-north-1", "console.amazonaws.cn"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
    ],
)
def test_logs_are_in_the_console_of_the_regions_partition(region: str, host: str):
    assert log_url(TRAINING, "job", region).startswith(f"https://{host}/cloudwatch/home?region={region}#logsV2:")


def test_an_endpoint_has_a_log_group_of_its_own_and_a_job_its_streams_in_a_shared_one():
    # The console writes / as $252F: quoted twice, with $ for %.
    assert log_url(ENDPOINT, "name", "r").endswith("log-group/$252Faws$252Fsagemaker$252FEndpoints$252Fname")
    assert log_url(TRAINING, "name", "r").endswith("$252FTrainingJobs$3FlogStreamNameFilter$3Dname")


@pytest.mark.parametrize(
    ("verb", "numbers", "said"),
    [
        ("trian", {}, "'trian' has no cost: did you mean train"),
        ("train", {"hours": -1}, "hours=-1 is not from 0 on"),
        ("train", {"num_instances": 0}, "num_instances=0 is not from 1 on"),
        ("tune", {"num_jobs": 0}, "num_jobs=0 is not from 1 on"),
    ],
)
def test_what_has_no_cost_is_said(verb: Any, numbers: dict[str, Any], said: str, tmp_path):
    with pytest.raises(UserError, match=said):
        estimate(Environment("i", "local", tmp_path), verb, **{"hours": 1, **numbers})


def test_a_cost_is_estimated_without_starting_anything(tmp_path):
    with account() as (wire, environment):
        # 1.50 USD an hour in the table in place of the price list × 20 jobs × 2 h × 3 machines
        assert estimate(environment, "tune", hours=2, num_instances=3, num_jobs=20).usd == 180
        estimate(environment, "deploy", hours=1)
        asked = [{f["Field"]: f["Value"] for f in body["Filters"]} for _, body in wire.sent]
        assert [filters["platoinstancetype"] for filters in asked] == ["Training", "Hosting"]
        wire.refuse("pricing.GetProducts", "AccessDeniedException", "not authorized to perform: pricing:GetProducts")
        unknown = estimate(environment, "train", hours=2)
        assert unknown.usd is None and "pricing:GetProducts" in unknown.sentence
    assert estimate(Environment("i", "local", tmp_path), "train", hours=2).usd == 0
