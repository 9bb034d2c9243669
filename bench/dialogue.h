/* What the client side says: one function per kind of session, from handshake to close. */
#ifndef BENCH_DIALOGUE_H
#define BENCH_DIALOGUE_H

#include "link.h"

#include <stdint.h>

enum outcome { DONE, REFUSED, FAILED };

struct job {
    const char *password;
    int port;
    bool starttls;
    bool resume;
    uint64_t octets;   /* content of a bulk transfer or a message */
    unsigned commands; /* NOOPs of the chatty session */
};

/* One thread of the load: what it needs for a unit and what it saw. */
struct worker {
    const struct job *job;
    SSL_CTX *context;
    SSL_SESSION *session; /* the newest ticket of this worker */
    struct link *link;
    unsigned resumed;
    uint64_t octets;
    const char *failure; /* where the last failed unit failed */
    char key[16], tls[16];
    char *block; /* BLOCK_OCTETS of room */
};

/* Each runs one unit, `number` naming its user and address, and closes its link. */
enum outcome imap_login(struct worker *worker, unsigned number);
enum outcome imap_noop(struct worker *worker, unsigned number);
enum outcome imap_fetch(struct worker *worker, unsigned number);
enum outcome imap_append(struct worker *worker, unsigned number);
enum outcome smtp_submission(struct worker *worker, unsigned number);

/* Log in and enter IDLE on worker->link, which stays open after DONE. */
enum outcome imap_idle_enter(struct worker *worker, unsigned number);
/* End the IDLE, log out and close: FAILED when the session was lost meanwhile. */
enum outcome imap_idle_leave(struct worker *worker);

#endif
