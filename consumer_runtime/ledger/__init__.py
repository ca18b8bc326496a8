"""Pure bookkeeping of offsets, order and admission."""
