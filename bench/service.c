/* Cheap and sufficient: any user is welcome, the password "wrong" is not, message number n is
 * n KiB of the pattern, and what arrives is compared with it and counted, never stored. */
#define _GNU_SOURCE
#include "service.h"

#include "pattern.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

static const char proxy_v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static bool starts(const char *line, const char *word)
{
    return strncasecmp(line, word, strlen(word)) == 0;
}

/* Replies are small and the other side waits for them: a full socket means a broken peer. */
__attribute__((format(printf, 2, 3))) static void reply(struct session *session,
                                                        const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (send(session->fd, text, (size_t)size, MSG_NOSIGNAL) != size)
        session->state = CLOSING;
}

static void greet(struct session *session)
{
    session->state = COMMAND;
    if (session->protocol == SMTP)
        reply(session, "220 backend.bench.test ESMTP\r\n");
    else if (session->protocol == IMAP)
        reply(session, "* OK [CAPABILITY IMAP4rev1 LITERAL+ IDLE] ready\r\n");
}

void session_start(struct session *session, enum protocol protocol, bool proxied)
{
    session->protocol = protocol;
    session->state = HEADER;
    if (!proxied)
        greet(session);
}

/* ---- SMTP ---- */

static size_t base64_decode(const char *text, char *out, size_t room)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, value = 0;
    size_t size = 0;
    for (const char *at; *text && (at = strchr(alphabet, *text)) != NULL && size < room; text++) {
        value = value << 6 | (unsigned)(at - alphabet);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[size++] = (char)(value >> bits & 0xff);
        }
    }
    return size;
}

static void smtp_auth(struct session *session, const char *response)
{
    static const char wrong[] = "\0wrong";
    char plain[512];
    size_t size = base64_decode(response, plain, sizeof plain);
    if (size >= 6 && memcmp(plain + size - 6, wrong, 6) == 0)
        reply(session, "535 5.7.8 authentication failed\r\n");
    else
        reply(session, "235 2.7.0 welcome\r\n");
}

static void smtp_command(struct session *session, const char *line)
{
    if (starts(line, "EHLO"))
        reply(session, "250-backend.bench.test\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n"
                       "250-AUTH PLAIN\r\n250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"
                       "250 ENHANCEDSTATUSCODES\r\n");
    else if (starts(line, "XCLIENT"))
        reply(session, "220 backend.bench.test ESMTP\r\n");
    else if (starts(line, "AUTH PLAIN "))
        smtp_auth(session, line + 11);
    else if (starts(line, "DATA")) {
        session->state = DATA;
        session->done = session->left = 0;
        session->wrong = false;
        reply(session, "354 go on\r\n");
    } else if (starts(line, "QUIT")) {
        reply(session, "221 2.0.0 bye\r\n");
        session->state = CLOSING;
    } else if (starts(line, "MAIL") || starts(line, "RCPT") || starts(line, "RSET") ||
               starts(line, "NOOP") || starts(line, "HELO"))
        reply(session, "250 2.0.0 ok\r\n");
    else
        reply(session, "502 5.5.1 unknown\r\n");
}

/* Content was changed: look for its end only. `left` counts the octets of it already seen. */
static void smtp_skip(struct session *session, char octet)
{
    static const char end[] = "\r\n.\r\n";
    session->left = octet == end[session->left] ? session->left + 1 : octet == '\r';
    if (end[session->left] == '\0')
        session->state = COMMAND;
}

/* At the start of a line: ".\r\n" is the end, `left` counting what was seen of it; a dot that
 * something else follows was content. */
static void smtp_line_start(struct session *session, char octet)
{
    static const char end[] = ".\r\n";
    if (octet == end[session->left]) {
        if (end[++session->left] == '\0')
            session->state = COMMAND;
        return;
    }
    session->done += session->left;
    session->wrong = session->left > 1 || octet != *pattern_at(session->done);
    session->left = 0;
    session->done++;
}

/* Compare with the pattern, line by line. Returns the octets taken. */
static size_t smtp_data(struct session *session, const char *data, size_t size)
{
    size_t taken = 0;
    while (taken < size && session->state == DATA) {
        uint64_t line_left = LINE_OCTETS - session->done % LINE_OCTETS;
        size_t piece = size - taken < line_left ? size - taken : line_left;
        if (session->wrong)
            smtp_skip(session, data[taken++]);
        else if (session->left > 0 || line_left == LINE_OCTETS)
            smtp_line_start(session, data[taken++]);
        else if (memcmp(data + taken, pattern_at(session->done), piece) != 0)
            session->wrong = true;
        else {
            taken += piece;
            session->done += piece;
        }
    }
    if (session->state == COMMAND && session->wrong)
        reply(session, "554 5.6.0 the content was changed on its way\r\n");
    else if (session->state == COMMAND)
        reply(session, "250 2.0.0 octets taken: %llu\r\n", (unsigned long long)session->done);
    return taken;
}

/* ---- IMAP ---- */

static bool last_word_is_wrong(const char *line)
{
    const char *word = strrchr(line, ' ');
    return word != NULL && (starts(word, " wrong") || starts(word, " \"wrong\""));
}

static void imap_fetch(struct session *session, const char *arguments)
{
    session->left = strtoull(arguments, NULL, 10) * 1024;
    session->done = 0;
    session->state = SENDING;
    reply(session, "* 1 FETCH (BODY[] {%llu}\r\n", (unsigned long long)session->left);
    session_pump(session);
}

static void imap_append(struct session *session, const char *arguments)
{
    const char *literal = strrchr(arguments, '{');
    if (literal == NULL) {
        session->state = CLOSING;
        return;
    }
    session->left = strtoull(literal + 1, NULL, 10);
    session->done = 0;
    session->wrong = false;
    session->state = LITERAL;
    if (strstr(literal, "+}") == NULL)
        reply(session, "+ go on\r\n");
}

static void imap_logout(struct session *session)
{
    reply(session, "* BYE bye\r\n%s OK done\r\n", session->tag);
    session->state = CLOSING;
}

static void imap_command(struct session *session, char *line)
{
    if (session->idling && starts(line, "DONE")) {
        session->idling = false;
        reply(session, "%s OK done\r\n", session->tag);
        return;
    }
    char *command = strchr(line, ' ');
    if (command == NULL || command - line >= TAG_OCTETS) {
        reply(session, "* BAD no tag\r\n");
        return;
    }
    *command++ = '\0';
    memcpy(session->tag, line, (size_t)(command - line));
    if (starts(command, "LOGIN ") && last_word_is_wrong(command))
        reply(session, "%s NO [AUTHENTICATIONFAILED] wrong\r\n", session->tag);
    else if (starts(command, "LOGOUT"))
        imap_logout(session);
    else if (starts(command, "FETCH "))
        imap_fetch(session, command + 6);
    else if (starts(command, "APPEND "))
        imap_append(session, command + 7);
    else if (starts(command, "IDLE")) {
        session->idling = true;
        reply(session, "+ idling\r\n");
    } else if (starts(command, "CAPABILITY"))
        reply(session, "* CAPABILITY IMAP4rev1 LITERAL+ IDLE\r\n%s OK done\r\n", session->tag);
    else
        reply(session, "%s OK done\r\n", session->tag);
}

/* nginx sends the arguments of LOGIN as literals. They hold no line break, so taking the
 * announcement out and going on with the same line is enough here. */
static bool imap_goes_on(struct session *session, size_t end)
{
    char *open = memrchr(session->line, '{', end);
    if (open == NULL || session->line[end - 1] != '}' ||
        strcasestr(session->line, " LOGIN ") == NULL)
        return false;
    session->used = (size_t)(open - session->line);
    reply(session, "+ go on\r\n");
    return true;
}

static size_t imap_literal(struct session *session, const char *data, size_t size)
{
    size_t piece = size < session->left ? size : session->left;
    if (memcmp(data, pattern_at(session->done), piece) != 0)
        session->wrong = true;
    session->done += piece;
    session->left -= piece;
    if (session->left == 0) {
        session->state = COMMAND;
        session->used = 0;
    }
    return piece;
}

void session_pump(struct session *session)
{
    while (session->state == SENDING && session->left > 0) {
        size_t size = session->left < BLOCK_OCTETS ? session->left : BLOCK_OCTETS;
        ssize_t sent = send(session->fd, pattern_at(session->done), size, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                session->state = CLOSING;
            return;
        }
        session->done += (uint64_t)sent;
        session->left -= (uint64_t)sent;
    }
    if (session->state == SENDING) {
        session->state = COMMAND;
        reply(session, ")\r\n%s OK done\r\n", session->tag);
    }
}

/* ---- nginx's auth_http ---- */

static void auth_line(struct session *session, const char *line, const struct ports *ports)
{
    if (starts(line, "Auth-Pass: wrong"))
        session->wrong = true;
    else if (starts(line, "Auth-Protocol: smtp"))
        session->smtp_auth = true;
    if (*line != '\0')
        return;
    if (session->wrong)
        reply(session, "HTTP/1.0 200 OK\r\nAuth-Status: Invalid login or password\r\n\r\n");
    else
        reply(session,
              "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\n"
              "Auth-Port: %d\r\n\r\n",
              session->smtp_auth ? ports->smtp : ports->imap);
    session->state = CLOSING;
}

/* ---- lines ---- */

/* The line end in session->line, `end` octets without its CRLF, is complete. */
static void take_line(struct session *session, size_t end, const struct ports *ports)
{
    session->line[end] = '\0';
    if (session->state == HEADER && starts(session->line, "PROXY ")) {
        session->used = 0;
        greet(session);
        return;
    }
    if (session->protocol == IMAP && end > 0 && imap_goes_on(session, end))
        return;
    session->used = 0;
    if (session->protocol == SMTP)
        smtp_command(session, session->line);
    else if (session->protocol == AUTH)
        auth_line(session, session->line, ports);
    else if (session->done == 0 || end > 0) /* the CRLF behind a literal ends its APPEND */
        imap_command(session, session->line);
    else
        reply(session, "%s %s\r\n", session->tag, session->wrong ? "NO changed" : "OK done");
}

/* A PROXY v2 header is 16 octets, the last two of them the size of the rest. */
static bool proxy_v2(struct session *session)
{
    size_t known = session->used < 12 ? session->used : 12;
    if (session->state != HEADER || memcmp(session->line, proxy_v2_signature, known) != 0)
        return false;
    const unsigned char *octets = (const unsigned char *)session->line;
    if (session->used >= 16 && session->used == 16u + octets[14] * 256u + octets[15]) {
        session->used = 0;
        greet(session);
    }
    return true;
}

static size_t take_lines(struct session *session, const char *data, size_t size,
                         const struct ports *ports)
{
    size_t taken = 0;
    while (taken < size && (session->state == COMMAND || session->state == HEADER)) {
        char octet = data[taken++];
        session->line[session->used++] = octet;
        if (proxy_v2(session))
            ;
        else if (octet == '\n') {
            size_t end = session->used - 1;
            if (end > 0 && session->line[end - 1] == '\r')
                end--;
            take_line(session, end, ports);
        }
        if (session->used == sizeof session->line)
            session->state = CLOSING;
    }
    return taken;
}

void session_feed(struct session *session, const char *data, size_t size,
                  const struct ports *ports)
{
    while (size > 0 && session->state != CLOSING) {
        size_t taken = 0;
        switch (session->state) {
        case HEADER:
        case COMMAND:
            taken = take_lines(session, data, size, ports);
            break;
        case DATA:
            taken = smtp_data(session, data, size);
            break;
        case LITERAL:
            taken = imap_literal(session, data, size);
            break;
        case SENDING: /* nothing is pipelined behind a FETCH in this bench */
        case CLOSING:
            session->state = CLOSING;
            return;
        }
        data += taken;
        size -= taken;
    }
}
