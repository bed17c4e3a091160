"""Where the checkout is."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BUNDLES = sorted((ROOT / "bundles").glob("*.bundle"))
