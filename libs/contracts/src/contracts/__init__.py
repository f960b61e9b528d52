"""The published language: errors, money and events. Pure data; imports nothing of ours."""
