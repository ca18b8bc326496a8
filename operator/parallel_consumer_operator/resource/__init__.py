"""The custom resource: names, spec and status as pydantic models, and the definition generated from them. Pure."""
