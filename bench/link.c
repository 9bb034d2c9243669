#define _GNU_SOURCE
#include "link.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Many clients are many addresses: sources are spread over 127.16.0.0/12. */
static bool bind_source(int fd, unsigned source)
{
    int on = 1;
    struct sockaddr_in from = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(0x7f100001u + (source & 0xffffu)),
    };
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&from, sizeof from) == 0;
}

bool link_open(struct link *link, int port, unsigned source)
{
    int on = 1;
    struct timeval limit = {.tv_sec = LINK_TIMEOUT_S};
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    link->ssl = NULL;
    link->start = link->end = 0;
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return false;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return bind_source(link->fd, source) &&
           connect(link->fd, (struct sockaddr *)&to, sizeof to) == 0;
}

bool link_secure(struct link *link, SSL_CTX *context, SSL_SESSION *session)
{
    link->ssl = SSL_new(context);
    if (link->ssl == NULL || link->start != link->end)
        return false; /* octets in front of the handshake would be an injection */
    if (session != NULL)
        SSL_set_session(link->ssl, session);
    SSL_set_tlsext_host_name(link->ssl, "mail.bench.test");
    return SSL_set_fd(link->ssl, link->fd) == 1 && SSL_connect(link->ssl) == 1;
}

bool link_send(struct link *link, const char *data, size_t size)
{
    if (link->ssl != NULL)
        return SSL_write(link->ssl, data, (int)size) == (int)size;
    return send(link->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* Without it a proxy that leaves Nagle's algorithm on waits 40 ms for our delayed acknowledgement,
 * on loopback with its huge segments far more often than elsewhere. The kernel forgets it. */
static void acknowledge_now(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static long read_some(struct link *link, char *data, size_t size)
{
    acknowledge_now(link->fd);
    if (link->ssl != NULL)
        return SSL_read(link->ssl, data, (int)size);
    return recv(link->fd, data, size, 0);
}

long link_receive(struct link *link, char *data, size_t size)
{
    size_t ready = link->end - link->start;
    if (ready == 0)
        return read_some(link, data, size);
    if (ready > size)
        ready = size;
    memcpy(data, link->buffer + link->start, ready);
    link->start += ready;
    return (long)ready;
}

char *link_line(struct link *link)
{
    for (;;) {
        char *line = link->buffer + link->start;
        char *newline = memchr(line, '\n', link->end - link->start);
        if (newline != NULL) {
            link->start = (size_t)(newline - link->buffer) + 1;
            if (newline > line && newline[-1] == '\r')
                newline--;
            *newline = '\0';
            return line;
        }
        memmove(link->buffer, line, link->end - link->start);
        link->end -= link->start;
        link->start = 0;
        long got = read_some(link, link->buffer + link->end, sizeof link->buffer - link->end);
        if (got <= 0)
            return NULL;
        link->end += (size_t)got;
    }
}

void link_finish(struct link *link)
{
    char rest[512];
    while (read_some(link, rest, sizeof rest) > 0)
        ;
    link_close(link);
}

void link_close(struct link *link)
{
    if (link->ssl != NULL) {
        SSL_set_quiet_shutdown(link->ssl, 1);
        SSL_shutdown(link->ssl); /* without it the session could not be resumed later */
        SSL_free(link->ssl);
    }
    if (link->fd >= 0)
        close(link->fd);
    link->ssl = NULL;
    link->fd = -1;
}
