"""Terraform's AWS provider drives an endpoint through its life. Only where both are on the machine: the provider is none of a package registry's."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from aws import client
from workbench import ModelServer, Snapback

# Where a mirror of providers lies, as `terraform providers mirror` makes one.
PLUGINS = pathlib.Path(os.environ.get("SNAPBACK_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
PROVIDERS = sorted(PLUGINS.glob("registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws*"))

pytestmark = pytest.mark.skipif(not (shutil.which("terraform") and PROVIDERS), reason="there is no Terraform with its AWS provider here")

PLAN = """
terraform {{
  required_providers {{ aws = {{ source = "hashicorp/aws" }} }}
}}
provider "aws" {{
  region                      = "us-east-1"
  access_key                  = "AKIATEST"
  secret_key                  = "secret"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {{ sagemaker = "{url}" }}
}}
resource "aws_sagemaker_model" "model" {{
  name               = "tf-{version}"
  execution_role_arn = "arn:aws:iam::000000000000:role/any"
  primary_container {{
    image       = "models/{version}"
    environment = {{ SNAPBACK_INSTANCES = "{instances}" }}
  }}
  lifecycle {{ create_before_destroy = true }}
}}
resource "aws_sagemaker_endpoint_configuration" "config" {{
  name = "tf-{version}"
  production_variants {{
    variant_name           = "AllTraffic"
    model_name             = aws_sagemaker_model.model.name
    initial_instance_count = 2
    instance_type          = "ml.m5.large"
  }}
  lifecycle {{ create_before_destroy = true }}
}}
resource "aws_sagemaker_endpoint" "endpoint" {{
  name                 = "tf"
  endpoint_config_name = aws_sagemaker_endpoint_configuration.config.name
  tags                 = {{ team = "search" }}
  deployment_config {{
    blue_green_update_policy {{
      termination_wait_in_seconds          = 1
      traffic_routing_configuration {{
        type                     = "CANARY"
        wait_interval_in_seconds = 1
        canary_size {{
          type  = "INSTANCE_COUNT"
          value = 1
        }}
      }}
    }}
  }}
}}
"""


def test_17_terraform_applies_updates_and_destroys_an_endpoint(tmp_path):
    rules = tmp_path / "terraform.rc"
    rules.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{PLUGINS}" }}\n}}\n')
    environment = os.environ | {"TF_CLI_CONFIG_FILE": str(rules), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def terraform(*words):
        command = ["terraform", f"-chdir={tmp_path}", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode in ((0, 2) if "-detailed-exitcode" in words else (0,)), done.stdout + done.stderr
        return done

    with contextlib.ExitStack() as stack:
        fleets = {version: [stack.enter_context(ModelServer(version)).address for _ in range(2)] for version in ("v1", "v2")}
        proxy = stack.enter_context(Snapback(tmp_path, []))
        api = client(proxy)

        def write(version):
            plan = PLAN.format(url=proxy.admin, version=version, instances=",".join(fleets[version]))
            (tmp_path / "main.tf").write_text(plan)

        write("v1")
        terraform("init", "-no-color", "-input=false")
        terraform("apply", "-auto-approve", "-no-color", "-input=false")
        shown = api.describe_endpoint(EndpointName="tf")
        assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", "tf-v1")
        assert api.list_tags(ResourceArn=shown["EndpointArn"])["Tags"] == [{"Key": "team", "Value": "search"}]
        assert terraform("plan", "-detailed-exitcode", "-no-color", "-input=false").returncode == 0, "an applied plan has no difference"
        write("v2")
        terraform("apply", "-auto-approve", "-no-color", "-input=false")
        shown = api.describe_endpoint(EndpointName="tf")
        assert (shown["EndpointStatus"], shown["EndpointConfigName"]) == ("InService", "tf-v2")
        terraform("destroy", "-auto-approve", "-no-color", "-input=false")
        assert api.list_endpoints()["Endpoints"] == [] and api.list_models()["Models"] == []
        assert json.loads((tmp_path / "terraform.tfstate").read_text())["resources"] == []
