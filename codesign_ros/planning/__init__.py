"""Choosing the plan: the objective (paper, Eq. 11), what can be chosen, the searches, the peers.

``problem`` says what can be chosen under which limits, ``evaluation`` prices it all, ``grid``,
``algorithm_1`` and ``gradient`` search it, ``pareto`` finds the trade, ``fleet`` plans for many
robots at once, and ``policies`` has what others would do. This room needs numpy and the standard
library alone and knows costs only as the arrays of ``cost.tables``.
"""
