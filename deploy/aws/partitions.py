"""AWS's partitions, each a cloud of its own with its own regions, names and host names, as botocore knows them."""

from __future__ import annotations

from botocore.exceptions import UnknownRegionError

from deploy.aws.request_check import model_session


def partition_of(region: str) -> str | None:
    """The partition that `region` belongs to, aws, aws-cn, aws-eusc and so on; None for a region that none has."""
    try:
        return str(model_session().get_partition_for_region(region))
    except UnknownRegionError:
        return None


def dns_suffix(partition: str) -> str:
    """What host names of the partition end with: amazonaws.com, amazonaws.eu and so on."""
    known = model_session().get_data("endpoints")["partitions"]
    return next((str(each["dnsSuffix"]) for each in known if each["partition"] == partition), "amazonaws.com")
