"""``python -m vpcrouter.cli`` is the ``vpcrouter`` command."""

from vpcrouter.cli import main

if __name__ == "__main__":
    main()
