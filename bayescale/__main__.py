"""Run the command line with ``python -m bayescale``, where its script is not on the path."""

from bayescale.cli import main

if __name__ == "__main__":
    main()
