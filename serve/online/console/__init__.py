"""The page at /: asks, and shows what the router makes of it (routes.py; static/ is the page)."""
