"""Every SQL statement of the mailer, by noun: one function, one statement, tenant first."""

from mailer.store import email_settings, email_templates, emails, suppressions

__all__ = ["email_settings", "email_templates", "emails", "suppressions"]
