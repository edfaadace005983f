"""python -m deploy VERB: from a checkpoint to a SageMaker endpoint and back to nothing."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys

from deploy.errors import DeployError
from server.masking import masked

# Each verb is a module with add_arguments(parser) and run(arguments) -> exit status, imported when it is used.
VERBS = {
    "package": ("deploy.verbs.package", "checkpoints to per-rank shards with a manifest and golden answers"),
    "prepare": ("deploy.verbs.prepare", "the bucket and roles that an endpoint needs"),
    "image": ("deploy.verbs.image", "build the image and push it to ECR, here or in CodeBuild"),
    "local": ("deploy.verbs.local", "run the image here as the endpoint would"),
    "upload": ("deploy.verbs.upload", "packaged folders to S3"),
    "index": ("deploy.verbs.index", "build the index in AWS, from documents in S3"),
    "create": ("deploy.verbs.create", "make the endpoint and wait until it serves"),
    "terraform": ("deploy.verbs.terraform", "the endpoint and what it needs as Terraform's JSON"),
    "status": ("deploy.verbs.status", "what the endpoint is doing"),
    "invoke": ("deploy.verbs.invoke", "one question, one answer"),
    "chat": ("deploy.verbs.chat", "a conversation at the terminal"),
    "token": ("deploy.verbs.bearer_token", "a bearer token for the endpoint's OpenAI-compatible address"),
    "logs": ("deploy.verbs.logs", "what the containers log"),
    "autoscale": ("deploy.verbs.autoscale", "set or take away autoscaling"),
    "update": ("deploy.verbs.update", "bring the endpoint to what the file says now"),
    "rollback": ("deploy.verbs.rollback", "return to the configuration before"),
    "delete": ("deploy.verbs.delete", "take the endpoint away, with --everything all that costs money"),
    "bench": ("deploy.verbs.bench", "how long turns take, by number of clients, beside another server"),
    "soak": ("deploy.measure.soak.verb", "mixed requests for hours, with faults, and books that must balance"),
    "evaluate-moderation": ("deploy.verbs.evaluate_moderation", "precision and recall of blocking on your own texts"),
}

_OWN = ("container", "deploy", "index_builder", "server")


def main(argv: list[str]) -> int:
    """Runs the verb `argv` begins with; the process's exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] not in VERBS:
        close = difflib.get_close_matches(argv[0], VERBS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        print(f"error: {argv[0]} is not a verb.{hint}\n{_usage()}", file=sys.stderr)
        return 2
    return _run(argv[0], argv[1:])


def _run(verb: str, argv: list[str]) -> int:
    try:
        module = importlib.import_module(VERBS[verb][0])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OWN:
            raise
        print(f"error: {verb} needs {error.name}: pip install 'openchatkit-server[server,cpu]'", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(prog=f"python -m deploy {verb}", description=module.__doc__)
    module.add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        return int(module.run(arguments))
    except DeployError as error:
        print(f"error: {masked(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what AWS has begun goes on: python -m deploy status", file=sys.stderr)
        return 130


def _usage() -> str:
    width = max(len(verb) for verb in VERBS)
    listing = "\n".join(f"  {verb:<{width}}  {says}" for verb, (_, says) in VERBS.items())
    return f"usage: python -m deploy VERB [--help]\n\n{listing}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
