/* The server side's words: SMTP, IMAP and nginx's auth_http, fed with bytes, without I/O loops. */
#ifndef BENCH_SERVICE_H
#define BENCH_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COMMAND_OCTETS = 2048, /* one command line, with a PROXY header in front */
    TAG_OCTETS = 48,
};

enum protocol { SMTP, IMAP, AUTH };

enum state {
    HEADER,  /* a PROXY header may come first */
    COMMAND, /* lines */
    DATA,    /* SMTP content up to CRLF . CRLF */
    LITERAL, /* `left` octets of an APPEND */
    SENDING, /* `left` octets of a FETCH */
    CLOSING,
};

struct session {
    int fd;
    enum protocol protocol;
    enum state state;
    bool wrong;    /* the password, or the content received */
    bool idling;
    bool smtp_auth; /* auth_http: asked on behalf of SMTP */
    uint64_t left;  /* octets still to send or to receive */
    uint64_t done;  /* octets sent or received */
    char tag[TAG_OCTETS];
    size_t used;
    char line[COMMAND_OCTETS];
};

/* Where auth_http sends nginx. */
struct ports {
    int smtp, imap;
};

void session_start(struct session *session, enum protocol protocol, bool proxied);
/* Take what was read. Anything that cannot be served ends in CLOSING. */
void session_feed(struct session *session, const char *data, size_t size,
                  const struct ports *ports);
/* Send more of a FETCH until the socket is full. */
void session_pump(struct session *session);

#endif
