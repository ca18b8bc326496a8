"""What runs handlers: one Protocol, one engine per way of running."""
