"""A whole cluster in network namespaces of one machine, with real agents, pods and packets."""
