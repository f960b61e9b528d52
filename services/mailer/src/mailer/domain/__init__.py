"""The mailer's pure rules: templates, addresses, messages and what an SMTP server's answer means."""
