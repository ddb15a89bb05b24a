"""Who owns which addresses: prefixes, groups, nodes, blocks and the store that keeps them."""
