/* A blocking client connection: TCP, TLS from the start or later, lines and blocks. */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    LINK_LINE_OCTETS = 4096, /* longer than any reply of the servers measured */
    LINK_TIMEOUT_S = 30,     /* a server silent this long has failed */
};

struct link {
    int fd;
    SSL *ssl; /* NULL before TLS */
    size_t start, end;
    char buffer[LINK_LINE_OCTETS];
};

/* Connect to 127.0.0.1:`port` from the loopback address number `source`. */
bool link_open(struct link *link, int port, unsigned source);
/* Shake hands; `session` (or NULL) is offered for resumption. */
bool link_secure(struct link *link, SSL_CTX *context, SSL_SESSION *session);
bool link_send(struct link *link, const char *data, size_t size);
/* Up to `size` octets; 0 at the end, -1 on an error. */
long link_receive(struct link *link, char *data, size_t size);
/* The next line without its CRLF, valid until the next call; NULL at the end. */
char *link_line(struct link *link);
/* Wait for the other side to close, then close. */
void link_finish(struct link *link);
void link_close(struct link *link);

#endif
