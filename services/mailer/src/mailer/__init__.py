"""Renders mail jobs and delivers them over SMTP."""
