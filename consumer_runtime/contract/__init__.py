"""What the runtime and the operator agree on: settings, knobs, metrics, state. Pure; pydantic only."""
