#include "dialogue.h"

#include "pattern.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum outcome fail(struct worker *worker, const char *where)
{
    worker->failure = where;
    link_close(worker->link);
    return FAILED;
}

static enum outcome refuse(struct worker *worker)
{
    link_close(worker->link);
    return REFUSED;
}

static bool say(struct worker *worker, const char *line)
{
    return link_send(worker->link, line, strlen(line));
}

/* ---- TLS ---- */

static void note_peer(struct worker *worker)
{
    SSL *ssl = worker->link->ssl;
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    worker->resumed += SSL_session_reused(ssl) == 1;
    snprintf(worker->tls, sizeof worker->tls, "%s", SSL_get_version(ssl));
    if (certificate != NULL)
        snprintf(worker->key, sizeof worker->key, "%s",
                 EVP_PKEY_get0_type_name(X509_get0_pubkey(certificate)));
}

static bool secure(struct worker *worker)
{
    SSL_SESSION *offered = worker->job->resume ? worker->session : NULL;
    if (!link_secure(worker->link, worker->context, offered))
        return false;
    SSL_set_app_data(worker->link->ssl, worker);
    note_peer(worker);
    return true;
}

/* ---- IMAP ---- */

/* The tagged reply "a ...": DONE for OK, REFUSED for NO and BAD; untagged lines are skipped. */
static enum outcome tagged(struct worker *worker)
{
    char *line;
    while ((line = link_line(worker->link)) != NULL)
        if (strncmp(line, "a ", 2) == 0)
            return strncmp(line + 2, "OK", 2) == 0 ? DONE : REFUSED;
    return FAILED;
}

static bool continuation(struct worker *worker)
{
    char *line = link_line(worker->link);
    return line != NULL && line[0] == '+';
}

static enum outcome imap_enter(struct worker *worker, unsigned number)
{
    char login[160];
    if (!link_open(worker->link, worker->job->port, number))
        return fail(worker, "connect");
    if (!secure(worker))
        return fail(worker, "handshake");
    char *greeting = link_line(worker->link);
    if (greeting == NULL || strncmp(greeting, "* OK", 4) != 0)
        return fail(worker, "greeting");
    snprintf(login, sizeof login, "a LOGIN user%u@bench.test %s\r\n", number % 5000,
             worker->job->password);
    if (!say(worker, login))
        return fail(worker, "sending LOGIN");
    switch (tagged(worker)) {
    case DONE:
        return DONE;
    case REFUSED:
        return refuse(worker);
    default:
        return fail(worker, "reply to LOGIN");
    }
}

static enum outcome imap_leave(struct worker *worker)
{
    if (!say(worker, "a LOGOUT\r\n") || tagged(worker) != DONE)
        return fail(worker, "LOGOUT");
    link_finish(worker->link);
    return DONE;
}

enum outcome imap_login(struct worker *worker, unsigned number)
{
    enum outcome entered = imap_enter(worker, number);
    return entered == DONE ? imap_leave(worker) : entered;
}

enum outcome imap_noop(struct worker *worker, unsigned number)
{
    enum outcome entered = imap_enter(worker, number);
    if (entered != DONE)
        return entered;
    for (unsigned i = 0; i < worker->job->commands; i++)
        if (!say(worker, "a NOOP\r\n") || tagged(worker) != DONE)
            return fail(worker, "NOOP");
    return imap_leave(worker);
}

/* Receive exactly `octets` of the pattern. */
static bool receive_content(struct worker *worker, uint64_t octets)
{
    for (uint64_t have = 0; have < octets;) {
        uint64_t want = octets - have < BLOCK_OCTETS ? octets - have : BLOCK_OCTETS;
        long got = link_receive(worker->link, worker->block, want);
        if (got <= 0 || memcmp(worker->block, pattern_at(have), (size_t)got) != 0)
            return false;
        have += (uint64_t)got;
    }
    worker->octets += octets;
    return true;
}

static bool send_content(struct worker *worker, uint64_t octets)
{
    for (uint64_t sent = 0; sent < octets;) {
        uint64_t size = octets - sent < BLOCK_OCTETS ? octets - sent : BLOCK_OCTETS;
        if (!link_send(worker->link, pattern_at(sent), size))
            return false;
        sent += size;
    }
    worker->octets += octets;
    return true;
}

/* The backend's message number n is n KiB long. */
enum outcome imap_fetch(struct worker *worker, unsigned number)
{
    char command[64];
    enum outcome entered = imap_enter(worker, number);
    if (entered != DONE)
        return entered;
    snprintf(command, sizeof command, "a FETCH %llu BODY[]\r\n",
             (unsigned long long)(worker->job->octets / 1024));
    if (!say(worker, command))
        return fail(worker, "sending FETCH");
    char *line = link_line(worker->link);
    char *literal = line == NULL ? NULL : strrchr(line, '{');
    if (literal == NULL || strtoull(literal + 1, NULL, 10) != worker->job->octets)
        return fail(worker, "size of the literal");
    if (!receive_content(worker, worker->job->octets))
        return fail(worker, "content of the literal");
    return tagged(worker) == DONE ? imap_leave(worker) : fail(worker, "end of FETCH");
}

enum outcome imap_append(struct worker *worker, unsigned number)
{
    char command[64];
    enum outcome entered = imap_enter(worker, number);
    if (entered != DONE)
        return entered;
    snprintf(command, sizeof command, "a APPEND INBOX {%llu}\r\n",
             (unsigned long long)worker->job->octets);
    if (!say(worker, command) || !continuation(worker))
        return fail(worker, "APPEND");
    if (!send_content(worker, worker->job->octets) || !say(worker, "\r\n"))
        return fail(worker, "sending the literal");
    return tagged(worker) == DONE ? imap_leave(worker) : fail(worker, "reply to APPEND");
}

enum outcome imap_idle_enter(struct worker *worker, unsigned number)
{
    enum outcome entered = imap_enter(worker, number);
    if (entered != DONE)
        return entered;
    if (!say(worker, "a IDLE\r\n") || !continuation(worker))
        return fail(worker, "IDLE");
    return DONE;
}

enum outcome imap_idle_leave(struct worker *worker)
{
    if (!say(worker, "DONE\r\n") || tagged(worker) != DONE)
        return fail(worker, "DONE");
    return imap_leave(worker);
}

/* ---- SMTP ---- */

/* The code of the next reply, all its lines read; 0 at the end. */
static int reply(struct worker *worker, uint64_t *number)
{
    char *line;
    while ((line = link_line(worker->link)) != NULL) {
        if (strlen(line) >= 4 && line[3] == '-')
            continue;
        char *words = strrchr(line, ' ');
        if (number != NULL && words != NULL)
            *number = strtoull(words + 1, NULL, 10);
        return atoi(line);
    }
    return 0;
}

static bool exchange(struct worker *worker, const char *command, int code)
{
    return say(worker, command) && reply(worker, NULL) == code;
}

static bool smtp_secure(struct worker *worker)
{
    if (!worker->job->starttls)
        return secure(worker) && reply(worker, NULL) == 220;
    return reply(worker, NULL) == 220 && exchange(worker, "EHLO client.bench.test\r\n", 250) &&
           exchange(worker, "STARTTLS\r\n", 220) && secure(worker);
}

static enum outcome authenticate(struct worker *worker, unsigned number)
{
    char plain[160], command[320] = "AUTH PLAIN ";
    int size = snprintf(plain, sizeof plain, "%cuser%u@bench.test%c%s", 0, number % 5000, 0,
                        worker->job->password);
    size_t head = strlen(command);
    int encoded = EVP_EncodeBlock((unsigned char *)command + head, (unsigned char *)plain, size);
    snprintf(command + head + encoded, sizeof command - head - (size_t)encoded, "\r\n");
    if (!say(worker, command))
        return fail(worker, "sending AUTH");
    switch (reply(worker, NULL)) {
    case 235:
        return DONE;
    case 535:
        return refuse(worker);
    default:
        return fail(worker, "reply to AUTH");
    }
}

/* The backend's last word in the 250 is the count of the octets it took. */
static enum outcome send_message(struct worker *worker)
{
    uint64_t octets = worker->job->octets, taken = 0;
    if (!exchange(worker, "MAIL FROM:<sender@bench.test>\r\n", 250) ||
        !exchange(worker, "RCPT TO:<recipient@bench.test>\r\n", 250) ||
        !exchange(worker, "DATA\r\n", 354))
        return fail(worker, "MAIL, RCPT, DATA");
    if (!send_content(worker, octets) || !say(worker, ".\r\n"))
        return fail(worker, "sending the message");
    if (reply(worker, &taken) != 250)
        return fail(worker, "reply to the message");
    return taken == octets ? DONE : fail(worker, "count of the message's octets");
}

enum outcome smtp_submission(struct worker *worker, unsigned number)
{
    if (!link_open(worker->link, worker->job->port, number))
        return fail(worker, "connect");
    if (!smtp_secure(worker) || !exchange(worker, "EHLO client.bench.test\r\n", 250))
        return fail(worker, "greeting, TLS, EHLO");
    enum outcome outcome = authenticate(worker, number);
    if (outcome == DONE)
        outcome = send_message(worker);
    if (outcome != DONE)
        return outcome;
    if (!exchange(worker, "QUIT\r\n", 221))
        return fail(worker, "QUIT");
    link_finish(worker->link);
    return DONE;
}
