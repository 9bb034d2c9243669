#include "pattern.h"

char pattern[PATTERN_OCTETS + BLOCK_OCTETS];

void pattern_fill(void)
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
