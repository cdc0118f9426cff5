#include "convert_utf8.h"

#include <stdint.h>
#include <string.h>

static const uint64_t HIGH_BITS = UINT64_C(0x8080808080808080);

static size_t skip_ascii(const unsigned char *data, size_t at, size_t size) {
    enum { BLOCK = 4 * sizeof(uint64_t) };
    while (size - at >= BLOCK) {
        uint64_t words[4];
        memcpy(words, data + at, BLOCK);
        if (((words[0] | words[1] | words[2] | words[3]) & HIGH_BITS) != 0) {
            break;
        }
        at += BLOCK;
    }
    while (at < size && data[at] < 0x80) {
        at++;
    }
    return at;
}

/* Length of the sequence that starts with a byte of at least 0x80, and the bounds of its second
 * byte; 0 if none. */
static size_t sequence_length(unsigned char first, unsigned char *low, unsigned char *high) {
    *low = 0x80;
    *high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF) {
        return 2;
    }
    if (first >= 0xE0 && first <= 0xEF) {
        if (first == 0xE0) {
            *low = 0xA0;
        } else if (first == 0xED) {
            *high = 0x9F;
        }
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        if (first == 0xF0) {
            *low = 0x90;
        } else if (first == 0xF4) {
            *high = 0x8F;
        }
        return 4;
    }
    return 0;
}

bool utf8_is_valid(const unsigned char *data, size_t size) {
    for (size_t at = skip_ascii(data, 0, size); at < size;) {
        unsigned char low;
        unsigned char high;
        size_t length = sequence_length(data[at], &low, &high);
        if (length == 0 || length > size - at || data[at + 1] < low || data[at + 1] > high) {
            return false;
        }
        for (size_t i = 2; i < length; i++) {
            if ((data[at + i] & 0xC0) != 0x80) {
                return false;
            }
        }
        at += length;
        if (at < size && data[at] < 0x80) {
            at = skip_ascii(data, at, size);
        }
    }
    return true;
}
