"""An application that takes longer to load than gunicorn waits for a heartbeat in the test."""

import time

time.sleep(4)

from tests.process.web.fake_wsgi import app  # noqa: E402, F401
