"""A bearer token for the endpoint's OpenAI-compatible address: any OpenAI client talks to the endpoint with it.

The token is a signed request in itself, made here without a call to AWS. Whoever holds it may invoke endpoints of the
account for as long as it lives, with the rights of the credentials it was made from, which need
sagemaker:CallWithBearerToken and sagemaker:InvokeEndpoint.
"""

from __future__ import annotations

import argparse
import base64
import json

import botocore.session
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from deploy import cli
from deploy.errors import DeployError

_HOST = "sagemaker.amazonaws.com"
_PREFIX = "sagemaker-api-key-"
_LONGEST_S = 12 * 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `token`."""
    cli.add_file(parser)
    parser.add_argument("--hours", type=float, default=1.0, help="how long it lives, at most 12 (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Prints {"base_url", "api_key"} for an OpenAI client."""
    file = cli.load(arguments)
    seconds = int(arguments.hours * 3600)
    if not 0 < seconds <= _LONGEST_S:
        raise DeployError(f"--hours {arguments.hours:g}: more than 0 and at most 12 are legal")
    credentials = botocore.session.Session(profile=arguments.profile).get_credentials()
    if credentials is None:
        raise DeployError("there are no AWS credentials to make a token from")
    token = bearer_token(credentials.get_frozen_credentials(), file.region, seconds)
    print(json.dumps({"base_url": base_url(file.name, file.region), "api_key": token}, indent=2))
    return 0


def base_url(endpoint_name: str, region: str) -> str:
    """The endpoint's OpenAI-compatible address."""
    return f"https://runtime.sagemaker.{region}.amazonaws.com/endpoints/{endpoint_name}/openai/v1"


def bearer_token(credentials: Credentials | ReadOnlyCredentials, region: str, seconds: int) -> str:
    """A presigned CallWithBearerToken request, good for `seconds`, as SageMaker expects it in Authorization."""
    request = AWSRequest(
        method="POST", url=f"https://{_HOST}/", headers={"host": _HOST}, params={"Action": "CallWithBearerToken"}
    )
    SigV4QueryAuth(credentials, "sagemaker", region, expires=seconds).add_auth(request)
    signed = str(request.url).removeprefix("https://") + "&Version=1"
    return _PREFIX + base64.b64encode(signed.encode()).decode()
