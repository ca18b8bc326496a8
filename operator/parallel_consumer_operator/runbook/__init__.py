"""The operations runbook as one table: alerts, gates and documentation are generated from it."""
