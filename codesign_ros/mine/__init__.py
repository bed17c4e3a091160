"""Synthetic mine scenes: galleries with people, helmets and bare heads, with exact boxes."""
