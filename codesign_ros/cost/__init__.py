"""What a plan costs: operations, time, bytes on the link and accuracy.

``profile`` counts what a network does, ``roofline`` and ``half_times`` turn a half into a time,
``interpolate`` and ``utilisation`` reach cuts and devices that were not timed, ``payload`` and
``link`` turn a crossing into bytes and a time, ``accuracy`` and ``losses`` structures into a loss.
``devices`` and ``links`` read what is known of machines. ``model`` puts it all into ``tables`` for
the planner; ``intensity`` counts bytes in other ways, for the paper's Table II. Equation numbers
are those of the co-design paper.
"""
