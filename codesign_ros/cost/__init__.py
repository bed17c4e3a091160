"""What a plan costs: operations, time, bytes on the link and accuracy.

``profile`` counts what a network does, ``roofline`` and ``measured`` turn a half into a time,
``payload`` and ``link`` a crossing into bytes and a time, ``accuracy`` structures into a loss.
``model`` puts them together for the planner. Equation numbers are those of the co-design paper.
"""
