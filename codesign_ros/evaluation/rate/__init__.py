"""Accuracy against bytes: all ways to send a frame, by real bytes through the real coders.

``network`` runs a detector cut in two with something sent between; ``coders`` and ``video`` write
the frame itself; ``resampled`` compares what was found with the truth, and says how sure that is;
``measure`` goes through a source; ``result`` is what comes out, ``report`` shows it.
"""
