"""What gunicorn serves: `server.web.wsgi:app`."""

from __future__ import annotations

import logging
import os
import sys

from flask import Flask

from server.chat.assembly import open_services, reload_policy
from server.chat.moderation.policy_file import PolicyError
from server.chat.services import Services
from server.config import ConfigError, from_env
from server.errors import ServiceError
from server.log_setup import set_up_logging
from server.retrieval.retriever import RetrievalError, renew
from server.web.app import create_app
from server.web.call.front import Front

_STARTS_AGAIN_IN_VAIN = 4  # the exit status on which gunicorn gives up instead of starting another worker

log = logging.getLogger(__name__)


def build() -> Flask:
    """The front over the real parts, as the environment's settings name them.

    `app.extensions` has "close", which lets go of what they hold open, and "reload", for policy, keys and index.
    """
    settings = from_env(os.environ)
    set_up_logging(settings)
    services = open_services(settings)
    app = create_app(services)
    app.extensions["close"] = services.close
    app.extensions["reload"] = lambda: _reload(services, app.extensions["front"])
    return app


def _reload(services: Services, front: Front) -> None:
    front.doorkeeper.reload()
    renew(services.retriever)
    reload_policy(services)


def _build_or_exit() -> Flask:
    try:
        return build()
    except (ConfigError, PolicyError, RetrievalError, ServiceError) as error:
        log.critical("%s", error)
        sys.exit(_STARTS_AGAIN_IN_VAIN)


app = _build_or_exit()
