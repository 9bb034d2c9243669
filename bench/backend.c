/* The backend all contenders share: plain SMTP, IMAP and auth_http in one epoll loop.
 *
 *   backend smtp:PORT imap:PORT smtp+proxy:PORT imap+proxy:PORT auth:PORT
 *
 * A "+proxy" port waits for a PROXY header (v1 or v2) before it greets. auth_http sends nginx to
 * the "+proxy" ports. Prints "ready" when it listens; ends with its standard input. */
#define _GNU_SOURCE
#include "pattern.h"
#include "service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTENERS_MAX = 8, EVENTS_MAX = 256, BACKLOG = 1024 };

/* What an epoll entry points at: a listener, a session, or standard input. */
enum kind { LISTENER, SESSION, STDIN };

struct entry {
    enum kind kind;
    enum protocol protocol; /* of a listener */
    bool proxied;
    bool writing; /* registered for EPOLLOUT */
    int fd;
    struct session session;
};

static int loop;
static struct ports ports;
static char block[BLOCK_OCTETS];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(struct entry *entry, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = entry};
    if (epoll_ctl(loop, operation, entry->fd, &event) != 0)
        die("epoll_ctl");
}

static struct entry *make_entry(enum kind kind, int fd)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        die("calloc");
    entry->kind = kind;
    entry->fd = entry->session.fd = fd;
    return entry;
}

static int listening_socket(int port)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, BACKLOG) != 0)
        die("listen");
    return fd;
}

/* `spec` is PROTOCOL[+proxy]:PORT. */
static void listen_as(const char *spec)
{
    const char *colon = strchr(spec, ':');
    if (colon == NULL)
        die(spec);
    int port = atoi(colon + 1);
    struct entry *entry = make_entry(LISTENER, listening_socket(port));
    entry->proxied = strstr(spec, "+proxy") != NULL;
    entry->protocol = spec[0] == 's' ? SMTP : spec[0] == 'i' ? IMAP : AUTH;
    if (entry->proxied && entry->protocol == SMTP)
        ports.smtp = port;
    else if (entry->proxied)
        ports.imap = port;
    watch(entry, EPOLL_CTL_ADD, EPOLLIN);
}

/* Close, or follow the session's wish to write. */
static void settle(struct entry *entry)
{
    bool writing = entry->session.state == SENDING;
    if (entry->session.state == CLOSING) {
        close(entry->fd);
        free(entry);
    } else if (writing != entry->writing) {
        entry->writing = writing;
        watch(entry, EPOLL_CTL_MOD, writing ? EPOLLOUT : EPOLLIN);
    }
}

static void accept_all(struct entry *listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct entry *entry = make_entry(SESSION, fd);
        watch(entry, EPOLL_CTL_ADD, EPOLLIN);
        session_start(&entry->session, listener->protocol, listener->proxied);
        settle(entry);
    }
}

static void serve(struct entry *entry, uint32_t events)
{
    struct session *session = &entry->session;
    if (entry->writing) {
        session_pump(session);
    } else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        int on = 1;
        ssize_t got = recv(entry->fd, block, sizeof block, 0);
        setsockopt(entry->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on); /* as in link.c */
        if (got > 0)
            session_feed(session, block, (size_t)got, &ports);
        else if (got == 0 || errno != EAGAIN)
            session->state = CLOSING;
    }
    settle(entry);
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    pattern_fill();
    loop = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 1; i < argc && i <= LISTENERS_MAX; i++)
        listen_as(argv[i]);
    watch(make_entry(STDIN, STDIN_FILENO), EPOLL_CTL_ADD, EPOLLIN);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(loop, events, EVENTS_MAX, -1);
        for (int i = 0; i < ready; i++) {
            struct entry *entry = events[i].data.ptr;
            if (entry->kind == STDIN)
                return 0; /* whoever started us is gone or done with us */
            if (entry->kind == LISTENER)
                accept_all(entry);
            else
                serve(entry, events[i].events);
        }
    }
}
