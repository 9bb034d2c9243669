"""What is found out about EHLO and MAIL on port 25 before they are judged."""
