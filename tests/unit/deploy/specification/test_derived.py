"""What deploy derives: timeouts from sizes, drivers from CUDA versions, facts of instances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.aws.request_check import problems
from deploy.errors import DeployError
from deploy.specification.instance_types import ami_for, has_local_disk, memory_gib, num_gpus
from deploy.specification.names import belongs_to
from deploy.specification.timeouts import transfer_timeout_s


@pytest.mark.parametrize(
    ("gigabytes", "seconds"), [(0, 600), (5, 600), (10, 900), (40, 2700), (53.2, 3492), (90, 3600), (500, 3600)]
)
def test_the_timeout_is_300_s_and_60_s_a_gigabyte_within_600_and_3600(gigabytes, seconds):
    assert transfer_timeout_s(int(gigabytes * 1e9)) == seconds


@given(st.integers(0, 10**12))
def test_the_timeout_is_always_one_that_sagemaker_takes(num_bytes):
    assert 60 <= transfer_timeout_s(num_bytes) <= 3600


def test_an_unknown_size_gets_all_the_time_there_is():
    assert transfer_timeout_s(None) == 3600


@pytest.mark.parametrize(
    ("cuda", "ami"),
    [
        ("11.8", "al2-ami-sagemaker-inference-gpu-2-1"),
        ("12.2", "al2-ami-sagemaker-inference-gpu-2-1"),
        ("12.4", "al2-ami-sagemaker-inference-gpu-3-1"),
        ("12.6", "al2023-ami-sagemaker-inference-gpu-4-1"),
        ("13.0", "al2023-ami-sagemaker-inference-gpu-4-1"),
    ],
)
def test_the_machine_image_is_the_oldest_whose_driver_supports_the_images_cuda(cuda, ami):
    assert ami_for(cuda) == ami
    variant = {"VariantName": "main", "InferenceAmiVersion": ami}
    config = {"EndpointConfigName": "talker", "ProductionVariants": [variant]}
    assert problems("sagemaker", "CreateEndpointConfig", config) == []


def test_a_cuda_that_no_driver_supports_is_refused_with_those_there_are():
    with pytest.raises(DeployError, match=r"gpu-4-1 \(CUDA 13\.0\)"):
        ami_for("14.0")
    with pytest.raises(DeployError, match=r"expected MAJOR\.MINOR"):
        ami_for("twelve")


@pytest.mark.parametrize(
    ("name", "gpus", "gib", "local_disk"),
    [
        ("g5.12xlarge", 4, 192, True),
        ("g5.48xlarge", 8, 768, True),
        ("p4d.24xlarge", 8, 1152, True),
        ("g6e.xlarge", 1, 32, True),
        ("g7e.24xlarge", None, None, False),
        ("m5.large", 0, 8, False),
        ("c5d.xlarge", 0, 8, True),
    ],
)
def test_facts_of_instances(name, gpus, gib, local_disk):
    instance = f"ml.{name}"
    assert (num_gpus(instance), memory_gib(instance), has_local_disk(instance)) == (gpus, gib, local_disk)


def test_only_names_that_deploy_gives_belong_to_an_endpoint():
    assert belongs_to("talker", "talker-0123456789ab")
    assert not belongs_to("talker", "talker-two-0123456789ab")
    assert not belongs_to("talker", "talker-0123456789")
    assert not belongs_to("talker.x", "talker-x-0123456789ab")


@pytest.mark.parametrize(
    ("operation", "parameters", "sentence"),
    [
        ("DescribeEndpoint", {}, 'Missing required parameter in input: "EndpointName"'),
        ("DescribeEndpoint", {"EndpointNam": "x"}, "Unknown parameter in input"),
        ("DescribeEndpoint", {"EndpointName": 7}, "Invalid type for parameter EndpointName"),
        ("DescribeEndpoint", {"EndpointName": "a b"}, "EndpointName: 'a b' does not match"),
        ("DescribeEndpoint", {"EndpointName": "a" * 64}, "EndpointName: 64 is above the limit of 63 characters"),
    ],
)
def test_a_malformed_request_is_named_member_by_member(operation, parameters, sentence):
    assert sentence in "; ".join(problems("sagemaker", operation, parameters))


def test_values_deep_inside_a_request_are_checked_against_closed_sets_and_bounds():
    variant = {"VariantName": "main", "InstanceType": "ml.g5.13xlarge", "VolumeSizeInGB": 600}
    config = {"EndpointConfigName": "talker", "ProductionVariants": [variant]}
    found = problems("sagemaker", "CreateEndpointConfig", config)
    assert any("ProductionVariants[0].InstanceType: 'ml.g5.13xlarge' is not one of" in line for line in found)
    assert "ProductionVariants[0].VolumeSizeInGB: 600 is above the limit of 512" in found
