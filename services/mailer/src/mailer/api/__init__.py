"""The mailer over HTTP, by noun; ends in ROUTES."""

from mailer.api import email_settings, email_templates, emails, suppressions

ROUTES = [*email_templates.ROUTES, *email_settings.ROUTES, *emails.ROUTES, *suppressions.ROUTES]
