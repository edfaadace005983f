"""python -m index_builder."""

from index_builder.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
