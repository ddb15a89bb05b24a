"""``python -m cni`` is the agent."""

from cni.agent import main

main()
