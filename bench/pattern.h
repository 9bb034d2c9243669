/* The content of every bulk transfer: lines of 76 base64 octets and CRLF, over and over.
 *
 * One line in PATTERN_LINES begins with "..", which is how a line beginning with "." travels in
 * SMTP DATA (RFC 5321 4.5.2); so the same octets are good content for DATA, APPEND and FETCH.
 * Whoever receives compares with the same table: a lost, doubled or changed octet is noticed. */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

enum {
    LINE_OCTETS = 78,
    PATTERN_LINES = 64,
    PATTERN_OCTETS = LINE_OCTETS * PATTERN_LINES,
    BLOCK_OCTETS = 256 * 1024, /* the most that is sent or compared at once */
};

extern char pattern[PATTERN_OCTETS + BLOCK_OCTETS];

/* Make the table; before anything else of this file. */
void pattern_fill(void);

/* BLOCK_OCTETS octets of content from `offset` on. */
static inline const char *pattern_at(uint64_t offset)
{
    return pattern + offset % PATTERN_OCTETS;
}

#endif
