"""How the operator fares with a thousand resources on a real API server."""
