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

static char pattern[PATTERN_OCTETS + BLOCK_OCTETS];

static inline void pattern_fill(void)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < sizeof pattern; i++) {
        size_t line = i / LINE_OCTETS % PATTERN_LINES, column = i % LINE_OCTETS;
        if (column >= LINE_OCTETS - 2)
            pattern[i] = column == LINE_OCTETS - 2 ? '\r' : '\n';
        else if (line == 0 && column < 2)
            pattern[i] = '.';
        else
            pattern[i] = alphabet[(line * 7 + column * 11) % 64];
    }
}

/* BLOCK_OCTETS octets of content from `offset` on. */
static inline const char *pattern_at(uint64_t offset)
{
    return pattern + offset % PATTERN_OCTETS;
}

#endif
