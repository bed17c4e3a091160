"""Choosing the plan: the objective (paper, Eq. 11), what can be chosen, and the search.

This room needs numpy and the standard library alone and knows costs only through the protocol
``problem.CostModel``.
"""
