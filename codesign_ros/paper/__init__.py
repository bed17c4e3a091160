"""The paper's networks, tables and figures, set beside ours."""
