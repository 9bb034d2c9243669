"""The mailboxes every test server knows, and what is planted in them."""

DOMAIN = "example.test"
SECOND_DOMAIN = "second.test"  # of which Postfix takes all mail
# Marked so that a search for them in logs and databases finds no innocent word.
PASSWORDS = {
    f"alice@{DOMAIN}": "alice-pw-Qm7Zt2",
    f"bob@{DOMAIN}": "bob-pw-Xk9Lw4",
    f"carol@{DOMAIN}": "carol-pw-Rv3Hn8",
}
ALICE, BOB, CAROL = PASSWORDS
WRONG = "wrong-pw-Jd5Sy1"  # also the beginning of all other wrong ones
# The HMAC key with which Dovecot checks bearer tokens.
TOKEN_KEY = b"token-key-for-tests"
