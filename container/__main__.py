"""`python -m container VERB`."""

from container.cli import main

raise SystemExit(main())
