"""The frame as H.264: each frame written after the one before, by PyAV, which need not be there.

Writer and reader are streams; what they exchange is checked before FFmpeg sees it.
"""
