"""`python -m executions.cli`, where the command is not on the PATH."""

from executions.cli.app import main

if __name__ == "__main__":
    main()
