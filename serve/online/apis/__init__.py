"""The endpoints that generate: one file each, one form (base.Api) for all."""
