"""SQL over invitations."""
