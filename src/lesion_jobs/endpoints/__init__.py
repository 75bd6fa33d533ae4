"""Endpoints: what serves until it is deleted: deployed, asked, scaled, changed, shared and monitored."""
