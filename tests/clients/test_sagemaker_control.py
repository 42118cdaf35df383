"""SageMaker's control API with the real boto3: models, configurations, tags, lists, and what is wrong with a request."""

import pytest
from aws import client, refused
from workbench import Snapback


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with Snapback(tmp_path_factory.mktemp("aws"), []) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def sagemaker(proxy):
    return client(proxy)


def variant(model="m", **members):
    return {"VariantName": "AllTraffic", "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"} | members


def test_a_model_is_made_shown_listed_and_deleted(sagemaker):
    container = {"Image": "models/a:1", "Environment": {"SNAPBACK_INSTANCES": "127.0.0.1:1"}}
    arn = sagemaker.create_model(ModelName="Round", PrimaryContainer=container)["ModelArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:000000000000:model/round"
    shown = sagemaker.describe_model(ModelName="Round")
    assert (shown["ModelName"], shown["ModelArn"], shown["PrimaryContainer"]) == ("Round", arn, container)
    assert shown["CreationTime"].year >= 2025
    with refused("ValidationException", f'Cannot create already existing model "{arn}".'):
        sagemaker.create_model(ModelName="Round")
    assert [model["ModelName"] for model in sagemaker.list_models(NameContains="roun")["Models"]] == ["Round"]
    sagemaker.delete_model(ModelName="Round")
    with refused("ValidationException", f'Could not find model "{arn}".'):
        sagemaker.describe_model(ModelName="Round")


def test_a_configuration_echoes_what_made_it(sagemaker):
    sagemaker.create_model(ModelName="m")
    variants = [variant(InitialVariantWeight=0.5, RoutingConfig={"RoutingStrategy": "RANDOM"})]
    arn = sagemaker.create_endpoint_config(EndpointConfigName="c1", ProductionVariants=variants)["EndpointConfigArn"]
    shown = sagemaker.describe_endpoint_config(EndpointConfigName="c1")
    assert (shown["ProductionVariants"], shown["EndpointConfigArn"]) == (variants, arn)
    with refused("ValidationException", f'Cannot create already existing endpoint configuration "{arn}".'):
        sagemaker.create_endpoint_config(EndpointConfigName="c1", ProductionVariants=variants)
    with refused("ValidationException", 'Could not find model "arn:aws:sagemaker:us-east-1:000000000000:model/gone".'):
        sagemaker.create_endpoint_config(EndpointConfigName="c2", ProductionVariants=[variant("gone")])
    sagemaker.delete_endpoint_config(EndpointConfigName="c1")
    with refused("ValidationException", f'Could not find endpoint configuration "{arn}".'):
        sagemaker.describe_endpoint_config(EndpointConfigName="c1")
    sagemaker.delete_model(ModelName="m")


def test_one_shadow_goes_with_one_production_variant_and_names_are_unique(sagemaker):
    sagemaker.create_model(ModelName="shadowed")
    create = sagemaker.create_endpoint_config
    production = [variant("shadowed")]
    with refused("ValidationException", "only one ProductionVariant and one ShadowProductionVariant"):
        create(
            EndpointConfigName="s",
            ProductionVariants=[*production, variant("shadowed", VariantName="b")],
            ShadowProductionVariants=[variant("shadowed", VariantName="c")],
        )
    with refused("ValidationException", "must be unique"):
        create(EndpointConfigName="s", ProductionVariants=production * 2)
    create(EndpointConfigName="s", ProductionVariants=production, ShadowProductionVariants=[variant("shadowed", VariantName="c")])


def test_pages_show_everything_once_in_order(sagemaker):
    names = [f"page-{number:02}" for number in range(23)]
    for name in names:
        sagemaker.create_model(ModelName=name)
    listing = lambda **how: [
        model["ModelName"] for page in sagemaker.get_paginator("list_models").paginate(NameContains="page-", **how) for model in page["Models"]
    ]
    assert listing(SortBy="Name", SortOrder="Ascending") == names
    assert listing(SortBy="Name", PaginationConfig={"PageSize": 7}) == names[::-1]
    assert sorted(listing()) == names
    first = sagemaker.list_models(NameContains="page-")
    assert len(first["Models"]) == 10 and first["NextToken"]
    sagemaker.delete_model(ModelName=first["Models"][0]["ModelName"])
    second = sagemaker.list_models(NameContains="page-", NextToken=first["NextToken"])
    assert not {m["ModelName"] for m in first["Models"]} & {m["ModelName"] for m in second["Models"]}
    created = sagemaker.describe_model(ModelName="page-05")["CreationTime"]
    assert "page-05" in listing(CreationTimeAfter=created, PaginationConfig={"PageSize": 100})
    assert "page-05" not in listing(CreationTimeBefore=created, PaginationConfig={"PageSize": 100})
    with refused("ValidationException", "Invalid NextToken"):
        sagemaker.list_models(NextToken="x")


def test_tags_are_added_replaced_listed_and_removed(sagemaker):
    arn = sagemaker.create_model(ModelName="Tagged", Tags=[{"Key": "team", "Value": "a"}])["ModelArn"]
    tags = lambda: {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags() == {"team": "a"}
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "stage", "Value": ""}])
    assert tags() == {"team": "b", "stage": ""}
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team", "none"])
    assert tags() == {"stage": ""}
    with refused("ValidationException", "exceeds the limit of 50"):
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": f"k{n}", "Value": ""} for n in range(50)])
    with refused("ValidationException", "Could not find resource"):
        sagemaker.list_tags(ResourceArn=arn + "x")


def test_everything_that_is_wrong_is_said_in_one_message(sagemaker):
    with refused(
        "ValidationException",
        "3 validation errors detected: "
        "Value 'a b!' at 'endpointConfigName' failed to satisfy constraint: Member must satisfy regular expression pattern: "
        "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}; "
        "Value '7' at 'productionVariants.1.member.containerStartupHealthCheckTimeoutInSeconds' failed to satisfy constraint: "
        "Member must have value greater than or equal to 60; "
        "Value 'BEST' at 'productionVariants.1.member.routingConfig.routingStrategy' failed to satisfy constraint: "
        "Member must satisfy enum value set: [LEAST_OUTSTANDING_REQUESTS, RANDOM, PREFIX_AWARE, KV_AWARE]",
    ):
        wrong = variant(ContainerStartupHealthCheckTimeoutInSeconds=7, RoutingConfig={"RoutingStrategy": "BEST"})
        sagemaker.create_endpoint_config(EndpointConfigName="a b!", ProductionVariants=[wrong])
