"""Rollout, split and shadow: what of an endpoint stays as it is, what goes back, and what is refused untouched.

moto keeps the endpoint; UpdateEndpoint, which it lacks, is played by wire.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from requested import KEY, WHOLE
from wire import Wire, account

from lesion.errors import UserError
from lesion_jobs import (
    Endpoint,
    autoscale,
    delete_endpoint,
    deploy,
    roll_back,
    rollout,
    shadow,
    split,
)
from lesion_jobs.hosting import AllAtOnce, Async, Canary, Capture, Linear, Scale, Serverless
from lesion_jobs.requests.update import next_config, update_request

MODEL = "s3://bucket/run/output/model.tar.gz"


def weights(endpoint: Endpoint) -> dict[str, float]:
    return {variant["VariantName"]: variant["DesiredWeight"] for variant in endpoint.describe()["ProductionVariants"]}


def config_of(wire: Wire, endpoint: Endpoint) -> Any:
    name = endpoint.describe()["EndpointConfigName"]
    return wire.session.client("sagemaker").describe_endpoint_config(EndpointConfigName=name)


def test_another_model_is_rolled_out_and_all_else_stays_as_it_is_now(capsys):
    with account("ml.p3.2xlarge", kms_key=KEY, tags={"team": "skin"}) as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin", num_instances=2, capture=Capture(percent=20))
        capsys.readouterr()
        before = config_of(wire, endpoint)
        now = {"VariantName": "AllTraffic", "DesiredInstanceCount": 5, "DesiredWeight": 1.0}
        sagemaker = wire.session.client("sagemaker")
        sagemaker.update_endpoint_weights_and_capacities(EndpointName="skin", DesiredWeightsAndCapacities=[now])
        update = rollout(endpoint, MODEL, shift=Canary(percent=20, wait_minutes=15), bake_minutes=30)
        after = config_of(wire, endpoint)
        assert after["EndpointConfigName"] == update.config != before["EndpointConfigName"]
        for kept in ("DataCaptureConfig", "KmsKeyId"):
            assert after.get(kept) == before.get(kept)
        (old,), (new,) = before["ProductionVariants"], after["ProductionVariants"]
        assert {**old, "ModelName": new["ModelName"], "InitialInstanceCount": 5} == new != old
        assert new["InferenceAmiVersion"] == "al2-ami-sagemaker-inference-gpu-3-1"
        assert wire.body("sagemaker.UpdateEndpoint") == {
            "EndpointName": "skin",
            "EndpointConfigName": update.config,
            "RetainAllVariantProperties": True,
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "WaitIntervalInSeconds": 900,
                        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 20},
                    },
                    "TerminationWaitInSeconds": 1800,
                    "MaximumExecutionTimeoutInSeconds": 900 + 1800 + 3600,
                },
                "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "lesion-skin-errors"}]},
            },
        }
        # 1.50 USD an hour × 5; beside the 5 new ones the old ones, of which 5 run now
        printed = capsys.readouterr().out
        assert "cost: 7.50 USD an hour for 5 ×" in printed and "the old machines are paid for too: 10 in all" in printed
        (alarm,) = wire.session.client("cloudwatch").describe_alarms()["MetricAlarms"]
        assert (alarm["MetricName"], alarm["Threshold"], alarm["Period"]) == ("Invocation5XXErrors", 1.0, 60)
        roll_back(endpoint)  # which keeps the 5 machines too, though the first configuration had 2
        assert "cost: 7.50 USD an hour for 5 ×" in capsys.readouterr().out


def test_a_rollout_can_be_taken_back_and_deleting_leaves_only_what_was_taken_back():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        with pytest.raises(UserError, match="was not changed since it was deployed"):
            roll_back(endpoint)
        taken_back = rollout(endpoint, MODEL)
        assert roll_back(endpoint).config == "skin" == endpoint.describe()["EndpointConfigName"]
        rollout(endpoint, MODEL)
        rollout(endpoint, MODEL)
        delete_endpoint(endpoint)
        sagemaker, cloudwatch = (wire.session.client(name) for name in ("sagemaker", "cloudwatch"))
        assert sagemaker.list_endpoints()["Endpoints"] == cloudwatch.describe_alarms()["MetricAlarms"] == []
        configs, models = sagemaker.list_endpoint_configs()["EndpointConfigs"], sagemaker.list_models()["Models"]
        assert [config["EndpointConfigName"] for config in configs] == [taken_back.config]
        assert [model["ModelName"] for model in models] == [taken_back.config]  # the model has the same name


def left_of(wire: Wire) -> set[str]:
    """What there is still of endpoints, configurations, models and alarms."""
    sagemaker, alarms = wire.session.client("sagemaker"), wire.session.client("cloudwatch").describe_alarms()
    return {
        *(f"endpoint {one['EndpointName']}" for one in sagemaker.list_endpoints()["Endpoints"]),
        *(f"configuration {one['EndpointConfigName']}" for one in sagemaker.list_endpoint_configs()["EndpointConfigs"]),
        *(f"model {one['ModelName']}" for one in sagemaker.list_models()["Models"]),
        *(f"alarm {one['AlarmName']}" for one in alarms["MetricAlarms"]),
    }


@pytest.mark.parametrize("num_left", [0, 1], ids=["split", "shadow"])  # moto tells nothing of a shadow and its model
def test_deleting_leaves_nothing_where_two_configurations_have_the_same_model(num_left: int):
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        if num_left == 0:
            split(endpoint, {"AllTraffic": 9, "challenger": 1}, models={"challenger": MODEL})
        else:
            shadow(endpoint, MODEL)
        delete_endpoint(endpoint)
        assert len(left_of(wire)) == num_left


def test_an_endpoint_is_deleted_also_where_an_earlier_configuration_is_gone(capsys):
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        rollout(endpoint, MODEL)
        wire.session.client("sagemaker").delete_endpoint_config(EndpointConfigName="skin")
        delete_endpoint(endpoint)
        assert "the configuration skin of endpoint skin is gone: its models" in capsys.readouterr().out
        assert left_of(wire) == {"model skin"}


DENIED: dict[str, set[str]] = {  # what is not allowed → what stays
    "ListTags": {"configuration skin", "model skin"},
    "DescribeEndpoint": {"configuration skin", "model skin", "configuration next", "model next"},
    "DeleteModel": set(),  # moto deletes them all the same
}


@pytest.mark.parametrize("operation", DENIED)
def test_an_endpoint_is_deleted_first_and_what_is_left_is_told_at_the_end(operation: str):
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        update = rollout(endpoint, MODEL)
        denied = f"User: u is not authorized to perform: sagemaker:{operation} on resource: x"
        wire.refuse(f"sagemaker.{operation}", "AccessDeniedException", denied)
        with pytest.raises(UserError) as refused:
            delete_endpoint(endpoint)
        del wire.answers[f"sagemaker.{operation}"]
        assert left_of(wire) == {one.replace("next", update.config) for one in DENIED[operation]}
    said = [one.what for one in refused.value.each]
    assert len(said) == (2 if operation == "DeleteModel" else 1)
    assert all(one.startswith("endpoint skin is deleted, but not") for one in said)
    assert all(f"the permission sagemaker:{operation} is missing" in one for one in said)


def test_of_an_endpoint_that_cannot_be_deleted_nothing_is_taken_away():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        wire.refuse("sagemaker.DeleteEndpoint", "ValidationException", "Cannot update in-progress endpoint")
        with pytest.raises(UserError, match=r"skin was not deleted: .*in-progress.* in the console: it costs money"):
            delete_endpoint(endpoint)
        assert [one for one in wire.operations if "Delete" in one] == ["sagemaker.DeleteEndpoint"]


def test_a_quota_that_holds_no_second_fleet_is_told_before_anything_is_changed():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, num_instances=11)
        wire.sent.clear()
        with pytest.raises(UserError, match="is 20, and 22 would be needed"):
            rollout(endpoint, MODEL)
        assert not [operation for operation in wire.operations if "Create" in operation or "Put" in operation]


def test_a_rollout_that_sagemaker_takes_back_is_no_success():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        wire.rolls_back = True
        with pytest.raises(UserError, match="was rolled back: it serves skin again"):
            rollout(endpoint, MODEL)


@pytest.mark.parametrize("end", ["well", "taken back", "refused"])
def test_scaling_stands_still_during_a_rollout_and_goes_on_after_it_however_it_ends(end: str):
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin", scale=Scale(4))
        scaling = wire.session.client("application-autoscaling")
        states: list[set[bool]] = []

        def look() -> set[bool]:
            (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
            return set(target["SuspendedState"].values())

        wire.before["UpdateEndpoint"] = lambda: states.append(look())
        wire.rolls_back = end == "taken back"
        if end == "refused":
            wire.refuse("sagemaker.CreateModel", "ValidationException", "no")
        try:
            rollout(endpoint, MODEL)
        except UserError:
            assert end != "well"
        assert states == ([] if end == "refused" else [{True}]) and look() == {False}
        policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        assert [policy["PolicyName"] for policy in policies] == ["lesion-target"]


def test_what_the_user_had_suspended_stays_so():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin", scale=Scale(4))
        scaling = wire.session.client("application-autoscaling")
        where = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": "endpoint/skin/variant/AllTraffic",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        scaling.register_scalable_target(**where, SuspendedState={"DynamicScalingInSuspended": True})
        rollout(endpoint, MODEL, wait=False).wait(poll_s=0)
        (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        assert [name for name, is_so in target["SuspendedState"].items() if is_so] == ["DynamicScalingInSuspended"]
        assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)


def test_alarms_that_are_not_there_or_ring_are_refused():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        cloudwatch = wire.session.client("cloudwatch")
        plain: dict[str, Any] = {"EvaluationPeriods": 1, "ComparisonOperator": "GreaterThanThreshold"}
        for name in ("quiet", "rings"):
            cloudwatch.put_metric_alarm(AlarmName=name, MetricName="m", Namespace="n", Threshold=1, **plain)
        cloudwatch.set_alarm_state(AlarmName="rings", StateValue="ALARM", StateReason="test")
        wire.sent.clear()
        with pytest.raises(UserError, match="there is no alarm 'qiuet'; the alarm 'rings' rings already"):
            rollout(endpoint, MODEL, alarms=["qiuet", "rings"])
        assert not [operation for operation in wire.operations if "Create" in operation]
        rollout(endpoint, MODEL, alarms=["quiet"])
        alarms = wire.body("sagemaker.UpdateEndpoint")["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
        assert alarms == [{"AlarmName": "quiet"}]


def test_a_rollout_is_refused_while_the_alarm_of_an_earlier_one_rings():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        rollout(endpoint, MODEL)
        ring: dict[str, str] = {"AlarmName": "lesion-skin-errors", "StateReason": "test"}
        wire.session.client("cloudwatch").set_alarm_state(StateValue="ALARM", **ring)
        wire.sent.clear()
        with pytest.raises(UserError, match=r"the alarm 'lesion-skin-errors' rings already .* wait, roll_back"):
            rollout(endpoint, MODEL)
        assert not [operation for operation in wire.operations if "Create" in operation or "Put" in operation]
        wire.session.client("cloudwatch").set_alarm_state(StateValue="OK", **ring)
        rollout(endpoint, MODEL)


def test_a_rollout_that_nothing_would_take_back_is_refused():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        wire.sent.clear()
        with pytest.raises(UserError, match="alarms is empty, so that nothing would take the rollout back"):
            rollout(endpoint, MODEL, alarms=[])
        with pytest.raises(UserError, match=r"alarms is the text 'errors', not a list.*alarms=\['errors'\]"):
            rollout(endpoint, MODEL, alarms="errors")
        assert not [operation for operation in wire.operations if "Create" in operation]


CHANGES: dict[str, Callable[[Endpoint], object]] = {
    "rollout": lambda endpoint: rollout(endpoint, MODEL),
    "roll_back": roll_back,
    "split": lambda endpoint: split(endpoint, {"AllTraffic": 1}),
    "shadow": lambda endpoint: shadow(endpoint, MODEL),
    "autoscale": lambda endpoint: autoscale(endpoint, Scale(2)),
}


@pytest.mark.parametrize("verb", [*CHANGES, "delete"])
def test_an_endpoint_that_is_not_there_is_nothing_to_wait_for(verb: str):
    with account() as (_, environment), pytest.raises(UserError) as refused:
        (CHANGES | {"delete": delete_endpoint})[verb](Endpoint("nix", environment))
    said = str(refused.value)
    assert "Is it of this account and region?" in said and ".wait()" not in said and ".." not in said


@pytest.mark.parametrize("verb", CHANGES)
def test_an_endpoint_that_is_being_updated_is_left_alone(verb: str):
    with account() as (wire, environment):
        endpoint = Endpoint("skin", environment)
        wire.answers["sagemaker.DescribeEndpoint"] = (200, {"EndpointName": "skin", "EndpointStatus": "Updating"})
        with pytest.raises(UserError, match=r"it is Updating\. Wait until it is done: endpoint\.wait\(\)"):
            CHANGES[verb](endpoint)
        assert not [operation for operation in wire.operations if "Describe" not in operation]


def test_two_models_share_the_traffic_and_one_can_have_it_all_again():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin", num_instances=3)
        split(endpoint, {"AllTraffic": 9, "challenger": 1}, models={"challenger": MODEL})
        assert weights(endpoint) == {"AllTraffic": 9, "challenger": 1}
        first, second = config_of(wire, endpoint)["ProductionVariants"]
        assert first["ModelName"] != second["ModelName"]
        assert first["InitialInstanceCount"] == second["InitialInstanceCount"] == 3
        assert wire.body("sagemaker.UpdateEndpoint")["RetainAllVariantProperties"] is False  # the new one has none yet
        wire.sent.clear()
        split(endpoint, {"AllTraffic": 1, "challenger": 1})  # only weights: no new configuration
        assert "sagemaker.UpdateEndpoint" not in wire.operations and weights(endpoint)["challenger"] == 1
        with pytest.raises(UserError, match="several variants"):
            rollout(endpoint, MODEL)
        split(endpoint, {"challenger": 1})
        assert weights(endpoint) == {"challenger": 1}
        rollout(endpoint, MODEL)


@pytest.mark.parametrize(
    ("shares", "models", "said"),
    [
        ({"AllTraffic": 1, "challenger": 1}, {}, "no variant is called challenger: there is AllTraffic"),
        ({"AllTraffic": 1}, {"AllTraffic": MODEL}, "`rollout` replaces its model"),
        ({"AllTraffic": 1}, {"challenger": MODEL}, "challenger has a model and no weight"),
        ({"AllTraffic": 0}, {}, "not all of them 0"),
        ({"AllTraffic": -1}, {}, "weights are numbers from 0 on, and not 'AllTraffic': -1"),
        ({"AllTraffic": float("nan")}, {}, "weights are numbers from 0 on"),
        ({"AllTraffic": True}, {}, "weights are numbers from 0 on"),
        ({"AllTraffic": "9"}, {}, r"weights\['AllTraffic'\]='9' is not a number"),
        ({}, {}, "not all of them 0"),
    ],
)
def test_weights_of_what_is_not_there_are_refused(shares: dict[str, float], models: dict[str, str], said: str):
    with account() as (_, environment):
        endpoint = deploy(environment, MODEL)
        with pytest.raises(UserError, match=said):
            split(endpoint, shares, models=models)


def test_a_shadow_gets_copies_of_requests_and_the_next_rollout_takes_it_away():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        shadow(endpoint, MODEL, percent=25)
        config = wire.sent[[operation for operation, _ in wire.sent].index("sagemaker.UpdateEndpoint") - 1][1]
        (production,), (copy,) = config["ProductionVariants"], config["ShadowProductionVariants"]
        assert (production["InitialVariantWeight"], copy["InitialVariantWeight"]) == (1.0, 0.25)
        assert copy["VariantName"] == "Shadow" and copy["ModelName"] != production["ModelName"]
        rollout(endpoint, MODEL)
        assert not config_of(wire, endpoint).get("ShadowProductionVariants")


def test_an_endpoint_of_one_variant_by_nature_has_no_second():
    for how, settings in ((Serverless(), {"isolated": False}), (Async(), {})):
        with account(**settings) as (_, environment):
            endpoint = deploy(environment, MODEL, how=how)
            with pytest.raises(UserError, match="no place for a shadow"):
                shadow(endpoint, MODEL)
            with pytest.raises(UserError, match="no place for a second variant"):
                split(endpoint, {"AllTraffic": 1, "b": 1}, models={"b": MODEL})


def test_a_serverless_endpoint_goes_over_all_at_once():
    with account(isolated=False) as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin", how=Serverless())
        with pytest.raises(UserError, match=r"Serverless.*shift=AllAtOnce\(\), bake_minutes=0, alarms=\[\]"):
            rollout(endpoint, MODEL)
        rollout(endpoint, MODEL, shift=AllAtOnce(), bake_minutes=0, alarms=[])
        assert "DeploymentConfig" not in wire.body("sagemaker.UpdateEndpoint")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Canary(percent=51),
        lambda: Canary(percent=0),
        lambda: Canary(percent="10"),  # type: ignore[arg-type]
        lambda: Canary(percent=True),
        lambda: Canary(percent=10.5),  # type: ignore[arg-type]
        lambda: Canary(wait_minutes="5"),  # type: ignore[arg-type]
        lambda: Canary(wait_minutes=float("nan")),
        lambda: Canary(wait_minutes=61),
        lambda: Linear(percent=9),
        lambda: Linear(percent=51),
        lambda: Linear(wait_minutes=-1),
        lambda: update_request("e", "c", AllAtOnce(), bake_minutes=61),
        lambda: update_request("e", "c", AllAtOnce(), alarms=11 * ["a"]),
        lambda: update_request("e", "c", Linear(percent=10, wait_minutes=60)),  # ten waits of an hour
    ],
)
def test_what_sagemaker_does_not_offer_cannot_be_asked_for(wrong: Callable[[], object]):
    with pytest.raises(UserError):
        wrong()


def test_a_gpu_gets_the_driver_for_our_image_unless_another_was_chosen():
    bare, chosen = (
        {"VariantName": "a"},
        {"VariantName": "b", "InferenceAmiVersion": "al2-ami-sagemaker-inference-gpu-2"},
    )
    config = next_config(WHOLE, "next", {}, [bare, chosen], tags={})
    drivers = [variant["InferenceAmiVersion"] for variant in config["ProductionVariants"]]
    assert drivers == ["al2-ami-sagemaker-inference-gpu-3-1", "al2-ami-sagemaker-inference-gpu-2"]


def test_a_linear_shift_waits_once_a_step():
    policy = update_request("e", "c", Linear(percent=30, wait_minutes=10))["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["LinearStepSize"] == {"Type": "CAPACITY_PERCENT", "Value": 30}
    assert policy["MaximumExecutionTimeoutInSeconds"] == 4 * 600 + 3600  # steps to 30, 60, 90 and 100 %


def test_tags_of_cloudformation_are_not_sent_again():
    """An endpoint that a template made has aws:cloudformation:stack-name, which no request may have."""
    with account(tags={"team": "skin"}) as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        arn = config_of(wire, endpoint)["EndpointConfigArn"]
        stack = [{"Key": "aws:cloudformation:stack-name", "Value": "lesion"}]
        wire.session.client("sagemaker").add_tags(ResourceArn=arn, Tags=stack)
        wire.sent.clear()
        rollout(endpoint, MODEL)
        tags = wire.body("sagemaker.CreateEndpointConfig")["Tags"]
        assert [tag["Key"] for tag in tags] == ["team", "lesion:previous"]
